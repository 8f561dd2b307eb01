package modbus_test

import (
	"fmt"
	"testing"

	"bordo/drivers/modbus"
)

// typeCodes are the codes of Sungrow's string inverters: those listed in bohdan-s/SunGather, and those of the
// newer series (RT-P2, SG8.0RS, CX-P2, HX) that were reported from the field. The series names are those of
// the maker's protocol V1.1.53.
var typeCodes = map[string][]uint16{
	"RT": {0x243D, 0x243E, 0x2430, 0x2431, 0x243C, 0x2432, 0x2433, 0x2434, 0x2435, 0x2436, 0x2437},
	"RT-P2": {0x2440, 0x2441, 0x2442, 0x2443, 0x2444, 0x2445, 0x2446, 0x2447, 0x2448, 0x2449, 0x244A, 0x244B,
		0x244C, 0x244D, 0x244E},
	"RS":           {0x2603, 0x2604, 0x2605, 0x2606, 0x2607, 0x2608, 0x2609, 0x260E},
	"CX":           {0x2C10, 0x2C00, 0x2C01, 0x2C02, 0x2C22, 0x2C12, 0x2C06},
	"CX-P2 and HX": {0x2C0C, 0x2C26, 0x2C27, 0x2C2D, 0x2C32, 0x2C33, 0x2C34, 0x2C35, 0x2C36, 0x2C37, 0x2C3F, 0x2C40},
	"KTL": {0x0147, 0x0148, 0x2C0F, 0x013F, 0x013E, 0x013C, 0x0142, 0x0149, 0x0143, 0x0141, 0x0134, 0x0135,
		0x011B, 0x0131, 0x0139},
}

// hybrids have other registers and must not be identified as string inverters.
var hybrids = []uint16{0x0D09, 0x0D0F, 0x0E00, 0x0E03, 0x0E13}

func TestSungrowTypeCodes(t *testing.T) {
	p, err := modbus.Named("sungrow-sg")
	if err != nil {
		t.Fatal(err)
	}
	is := func(code uint16) bool {
		ok, err := p.Recognises(func(s modbus.Span) (modbus.Answer, error) {
			return modbus.Answer{Span: s, Data: []byte{byte(code >> 8), byte(code)}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	for series, codes := range typeCodes {
		for _, code := range codes {
			if !is(code) {
				t.Errorf("%s: type %04X is not recognised", series, code)
			}
			if name := p.Identity.Model.Field.Enum[uint64(code)]; name == "" || name == fmt.Sprintf("type %04X", code) {
				t.Errorf("%s: type %04X has no name", series, code)
			}
		}
	}
	for _, code := range hybrids {
		if is(code) {
			t.Errorf("hybrid %04X is recognised as a string inverter", code)
		}
	}
}
