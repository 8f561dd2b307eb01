//go:build e2e

package buffer

// allDamageKinds makes TestEveryFile damage each file in every way.
const allDamageKinds = true
