package modbus

import (
	"cmp"
	"slices"

	"bordo/drivers/catalogue"
)

// sortPoints sorts point keys in catalogue order.
func sortPoints(keys []string) {
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Compare(catalogue.PointOrder(a), catalogue.PointOrder(b))
	})
}
