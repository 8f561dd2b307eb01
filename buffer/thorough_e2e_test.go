//go:build e2e

package buffer

// everyWay makes TestEveryFile damage each file in every way.
const everyWay = true
