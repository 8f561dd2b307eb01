package modbus

import (
	"cmp"
	"slices"

	"bordo/drivers/catalogue"
)

// sortPoints puts keys into the catalogue's order.
func sortPoints(keys []string) {
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Compare(catalogue.PointOrder(a), catalogue.PointOrder(b))
	})
}
