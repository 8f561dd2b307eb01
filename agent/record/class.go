package record

import (
	"bordo/buffer"
	"bordo/contract"
)

// ClassOf is the store's name of a class of the contract.
func ClassOf(c contract.Class) buffer.Class {
	switch c {
	case contract.ClassCard:
		return buffer.Card
	case contract.ClassInterval:
		return buffer.Interval
	case contract.ClassReading:
		return buffer.Reading
	}
	return buffer.Event
}
