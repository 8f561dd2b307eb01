// Package all lists the drivers that are built in, one line each. There is no registration: who wants another list
// makes one.
package all

import (
	"bordo/drivers"
	"bordo/drivers/modbus/onsite"
)

// List returns the drivers in the order in which their models are shown.
func List() []drivers.Driver {
	return []drivers.Driver{
		onsite.New(),
	}
}
