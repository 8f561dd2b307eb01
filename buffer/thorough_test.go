//go:build !e2e

package buffer

// everyWay: the quick tests damage each file in a quarter of the ways, a different quarter for each.
const everyWay = false
