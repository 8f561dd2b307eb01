//go:build e2e

package buffer

// everyWay: each file is damaged in every way.
const everyWay = true
