package record

// keysV1 are the point keys that rows and blocks of version 1 encode by their index here. The list is part of the
// format: it is never changed, and a key that is not on it is spelled out.
var keysV1 = [...]string{
	"state", "alarm", "alarm_code",
	"ac_power", "ac_power_l1", "ac_power_l2", "ac_power_l3",
	"ac_voltage_l1", "ac_voltage_l2", "ac_voltage_l3", "ac_voltage_l1_l2", "ac_voltage_l2_l3", "ac_voltage_l3_l1",
	"ac_current", "ac_current_l1", "ac_current_l2", "ac_current_l3",
	"frequency", "power_factor", "reactive_power", "apparent_power",
	"ac_energy", "ac_energy_today", "import_energy", "export_energy", "reactive_import_energy",
	"reactive_export_energy",
	"dc_power", "battery_voltage", "battery_current", "battery_power", "battery_charge",
	"temperature", "humidity", "power_limit",
	"position", "cycles", "photocell_clear", "loop_occupied",
	"door_open", "mains_ok", "on_battery", "camera_power", "reachable", "runtime", "load_power",
	"present", "capacity", "level", "volume", "full",
	"dc1_voltage", "dc1_current", "dc1_power", "dc2_voltage", "dc2_current", "dc2_power",
	"dc3_voltage", "dc3_current", "dc3_power", "dc4_voltage", "dc4_current", "dc4_power",
	"dc5_voltage", "dc5_current", "dc5_power", "dc6_voltage", "dc6_current", "dc6_power",
	"dc7_voltage", "dc7_current", "dc7_power", "dc8_voltage", "dc8_current", "dc8_power",
	"dc9_voltage", "dc9_current", "dc9_power", "dc10_voltage", "dc10_current", "dc10_power",
	"dc11_voltage", "dc11_current", "dc11_power", "dc12_voltage", "dc12_current", "dc12_power",
}

// keyPlace finds a key's place in keysV1, counted from 1. It does not change.
var keyPlace = func() map[string]uint8 {
	m := make(map[string]uint8, len(keysV1))
	for i, k := range keysV1 {
		m[k] = uint8(i + 1)
	}
	return m
}()
