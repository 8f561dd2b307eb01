package catalogue

// DeviceKind is what a device is for. It decides which words the point "state" may hold.
type DeviceKind string

// The kinds of device.
const (
	Inverter DeviceKind = "inverter"
	Meter    DeviceKind = "meter"
	Barrier  DeviceKind = "barrier"
	IO       DeviceKind = "io"
	UPS      DeviceKind = "ups"
)

// DeviceKinds returns every kind.
func DeviceKinds() []DeviceKind { return []DeviceKind{Inverter, Meter, Barrier, IO, UPS} }

// Prefix is the beginning of the proposed id of a device of this kind: inv, meter, barrier, io, ups, and dev for an
// unknown kind.
func (k DeviceKind) Prefix() string {
	switch k {
	case Inverter:
		return "inv"
	case Meter, Barrier, IO, UPS:
		return string(k)
	}
	return "dev"
}

// States returns the words that the point "state" of a device of this kind can have; nil when only the catalogue's list
// is known.
func (k DeviceKind) States() []string {
	switch k {
	case Inverter:
		return InverterStates
	case Barrier:
		return BarrierStates
	}
	return nil
}
