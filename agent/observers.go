package agent

import (
	"log/slog"
	"time"

	"bordo/agent/config"
	"bordo/agent/health"
	"bordo/agent/phases"
	"bordo/agent/record"
	"bordo/agent/uplink"
	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
)

// observer is one concern that every report of a device passes through, in the order of newObservers. Observe is called
// from the goroutine of the device's line. It may lower the quality of readings for later observers, and must not
// retain the report.
type observer interface {
	Observe(r *drivers.Report, at moment)
}

// newObservers lists the observers in order. Confirmations of commands come first, because callers wait for them.
// Conditions come before records: the centre knows that a device has a fault before it gets the records of that time.
// Energy comes before samples, because it makes implausible readings uncertain.
func (a *Agent) newObservers() []observer {
	return []observer{
		&a.confirmations,
		a.deviceHealth,
		a.descriptions,
		&driverStates{a.devices, &a.state},
		&driverEvents{a.records},
		&phaseWatch{a.devices, a.conditions},
		a.accounting,
		&samples{a.devices, a.records, a.restampLate},
	}
}

// deviceConditions are the conditions that a poll can show. A device has at most one of them at a time.
var deviceConditions = [...]string{contract.DeviceSilent, contract.DevicePartial, contract.DeviceBusy}

// deviceHealth keeps the device table and raises the conditions of devices and lines.
type deviceHealth struct {
	devices       *deviceTable
	conditions    *health.Conditions
	site          config.Site
	log           *slog.Logger
	now           func() time.Time // by the wall clock
	publishStatus func()
}

// Observe derives the health of the device from a poll.
func (d *deviceHealth) Observe(r *drivers.Report, at moment) {
	code, failed := d.devices.report(*r, at)
	if 0 < failed && failed < silentAfter {
		for _, c := range deviceConditions {
			if failed > 1 {
				d.conditions.Doubt(c, r.Device)
			}
		}
		return
	}
	if d.rest(r.Device, (code != "" || empty(r.Readings)) && d.mayRest(r.Device, at.wall)) {
		code = ""
	}
	for _, c := range deviceConditions {
		d.conditions.Set(c, r.Device, c == code, text(r.Err))
	}
}

// lineChanged handles a change of a port. A line that is down is a condition of each of its devices, except of those
// that sleep.
func (d *deviceHealth) lineChanged(l config.Line, port drivers.Port, err error) {
	now := d.now()
	if d.devices.line(l.ID, port, err, now) && port != nil {
		d.log.Info("line open", "line", l.ID, "port", l.Endpoint.String())
	}
	for _, dev := range l.Devices {
		if port == nil && d.rest(dev.ID, d.lineRests(l, dev.ID, now)) {
			for _, code := range silences() {
				d.conditions.Set(code, dev.ID, false, "")
			}
			continue
		}
		d.conditions.Set(contract.LineDown, dev.ID, port == nil, text(err))
	}
}

// descriptions publishes the descriptions of devices.
type descriptions struct {
	topics        contract.Topics
	devices       *deviceTable
	saved         *stateStore
	retained      *uplink.Retained
	log           *slog.Logger
	publishStatus func()
}

// Observe publishes a description that is new.
func (d *descriptions) Observe(r *drivers.Report, _ moment) {
	if r.Description != nil {
		d.publish(r.Device, r.Description)
	}
}

// publish sets a device's retained meta. about is nil when nothing new is known. Descriptions outlive the agent, so
// that a restart changes nothing while the device answers as before.
func (d *descriptions) publish(id string, about *drivers.Description) {
	dev, known := d.devices.describe(id, about)
	m := contract.Meta{
		Node: d.topics.Node(), Dev: id, Maker: known.Maker, Model: known.Model, Profile: dev.Model,
		Serial: known.Serial, Firmware: known.Firmware, Quarantined: known.Quarantined,
		Every: dev.Every.Milliseconds(), About: dev.About, Points: points(dev.Spec, known.Points),
	}
	payload, err := m.Encode()
	if err == nil {
		m.Rev = d.saved.describe(id, dev.Model, known, payload)
		payload, err = m.Encode()
	}
	if err != nil {
		d.log.Error("encode meta", "device", id, "err", err)
		return
	}
	if d.retained.Put(d.topics.Meta(id), payload) {
		d.publishStatus()
	}
}

// driverStates saves what drivers found out about devices.
type driverStates struct {
	devices *deviceTable
	saved   *stateStore
}

// Observe saves a driver's state that has changed.
func (d *driverStates) Observe(r *drivers.Report, _ moment) {
	if r.DriverState != nil {
		d.saved.setDriverState(r.Device, d.devices.model(r.Device), r.DriverState)
	}
}

// driverEvents stores the events of drivers.
type driverEvents struct{ records *recorder }

// Observe stores the events of a report.
func (d *driverEvents) Observe(r *drivers.Report, at moment) {
	for _, e := range r.Events {
		if e.Type == contract.DeviceReplaced {
			continue // accounting reports it, also when the exchange happened while the agent was not running
		}
		when := at
		if !e.At.IsZero() {
			when = d.records.stamp(e.At)
		}
		d.records.append(r.Device, e.Type, when, e.Data)
	}
}

// phaseWatch raises the conditions of the three phases of a device.
type phaseWatch struct {
	devices    *deviceTable
	conditions *health.Conditions
}

// Observe raises and clears the conditions of the three phases of a device.
func (w *phaseWatch) Observe(r *drivers.Report, at moment) {
	if len(r.Readings) == 0 {
		return
	}
	missing, reversed := w.devices.devs[r.Device].phases.Observe(r.Readings, time.Duration(at.mono)*time.Millisecond)
	w.set(contract.PhaseMissing, r.Device, missing)
	w.set(contract.PhaseReversed, r.Device, reversed)
}

func (w *phaseWatch) set(code, device string, f *phases.Finding) {
	detail := ""
	if f != nil {
		detail = f.Detail
	}
	w.conditions.Set(code, device, f != nil, detail)
}

// samples stores readings.
type samples struct {
	devices *deviceTable
	records *recorder
	restamp func(stamped moment) // corrects records stored with a moment from before the clock was set
}

// Observe stores the readings of a report as a sample when one is due.
func (s *samples) Observe(r *drivers.Report, at moment) {
	dev := s.devices.devs[r.Device]
	if len(r.Readings) == 0 || !dev.reporter.due(r.Readings, r.At) {
		return
	}
	ts, mono := s.devices.place(r.Device, at)
	row := record.AppendSample(dev.row[:0], &record.Sample{
		Dev: r.Device, TS: ts, Mono: mono, Boot: s.records.boot, Clk: at.clk, Readings: r.Readings})
	dev.row = row // the store copies it
	if _, err := s.records.put(r.Device, buffer.Reading, ts, ts, row); err != nil {
		s.records.log.Error("store sample", "device", r.Device, "err", err)
	}
	s.restamp(at)
}
