//go:build !e2e

package buffer

// allDamageKinds is false here: TestEveryFile damages each file in a quarter of the ways, a different quarter for each
// file.
const allDamageKinds = false
