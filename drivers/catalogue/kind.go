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

// States are the words that the point "state" of a device of this kind can hold; nil when nothing narrower is known than the
// catalogue.
