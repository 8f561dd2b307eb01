package sim

import (
	"fmt"

	"bordo/drivers/catalogue"
)

// fits says that a device is described as something that its model is not.
func (d Device) fits(kind catalogue.DeviceKind) error {
	for said, is := range map[catalogue.DeviceKind]bool{catalogue.Inverter: d.Inverter != nil, catalogue.Meter: d.Meter != nil,
		catalogue.Barrier: d.Barrier != nil, catalogue.UPS: d.UPS != nil, catalogue.IO: d.IO != nil} {
		switch {
		case !is:
		case said != kind:
			return fmt.Errorf("model %s is %s: %s is not for it, %s is", d.Model, aKind(kind), said, kind)
		case d.From != "" && said != catalogue.IO: // the taps of a recording say what hangs on its channels
			return fmt.Errorf("a recording says what it once said: %s does nothing there", said)
		}
	}
	return nil
}
