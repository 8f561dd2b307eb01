// Package agent is the daemon as a library: it polls the configured lines, stores what they report and forwards it to a
// broker.
//
// It promises that it runs whatever is missing (broker, port, device, clock, a whole store), that a record leaves the
// store only on the broker's acknowledgement, and that every loss is reported. It touches the machine only through
// System, so that tests can run all of it under simulated time.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"bordo/agent/clock"
	"bordo/agent/config"
	"bordo/agent/health"
	"bordo/agent/loglimit"
	"bordo/agent/record"
	"bordo/agent/statefile"
	"bordo/agent/uplink"
	"bordo/buffer"
	"bordo/contract"
	"bordo/drivers"
)

// Agent is one node. It is made by New and run once.
type Agent struct {
	cfg           *config.Config
	sys           System
	log           *slog.Logger
	topics        contract.Topics
	lines         []*lineRunner
	devices       *deviceTable
	retained      uplink.Retained
	state         stateStore
	records       *recorder
	observers     []observer
	deviceHealth  *deviceHealth
	descriptions  *descriptions
	accounting    *accounting
	confirmations confirmations
	clock         *timekeeper
	conditions    *health.Conditions
	hw            string    // which board
	since         time.Time // when the agent began, by the wall clock

	mu    sync.Mutex
	store *buffer.Store  // nil until it is open and after it is closed
	up    *uplink.Uplink // nil until the store is open and after it is closed

	reporting sync.Mutex // one goroutine reports gaps at a time
}

// New prepares a node and reads what earlier runs saved. It opens nothing.
func New(cfg *config.Config, sys System) (*Agent, error) {
	topics, err := contract.NewTopics(cfg.MQTT.Root, cfg.Tenant, cfg.Node)
	if err != nil {
		return nil, err
	}
	sys.Logger = slog.New(loglimit.NewHandler(sys.Logger.Handler()))
	now, _ := sys.Wall()
	a := &Agent{cfg: cfg, sys: sys, log: sys.Logger, topics: topics, since: now, hw: hardware(),
		devices: newDeviceTable(cfg.Lines, now)}
	if a.clock, err = newTimekeeper(sys, a.clockSet); err != nil {
		return nil, err
	}
	a.conditions = health.New(a.clock.now, a.publishCondition)
	a.state.dir, a.state.log = statefile.New(cfg.StateDir, statefile.Options{Logger: a.log}), a.log
	a.records = &recorder{log: a.log, boot: a.clock.boot, stamp: a.clock.stamp, personal: a.devices.personal()}
	a.deviceHealth = &deviceHealth{devices: a.devices, conditions: a.conditions, site: cfg.Site, log: a.log,
		now: a.clock.now, publishStatus: a.publishStatus}
	a.descriptions = &descriptions{topics: topics, devices: a.devices, saved: &a.state, retained: &a.retained,
		log: a.log, publishStatus: a.publishStatus}
	a.accounting = &accounting{accounts: openAccounts(cfg.Lines), conditions: a.conditions, records: a.records,
		saved: &a.state, log: a.log}
	a.observers = a.newObservers()
	a.state.load()
	for _, l := range cfg.Lines {
		link, err := link(l, a.state.driverStateOf)
		if err != nil {
			return nil, err
		}
		a.lines = append(a.lines, &lineRunner{
			cfg: l, link: link, sys: sys, log: a.log,
			in:   make(chan drivers.Request, maxRequests),
			out:  a.accept,
			tell: func(port drivers.Port, err error) { a.deviceHealth.lineChanged(l, port, err) },
		})
	}
	return a, nil
}

// Check reports whether an agent can be made of a configuration: the topics can be formed, and each driver accepts its
// devices. It touches nothing.
func Check(cfg *config.Config) error {
	if _, err := contract.NewTopics(cfg.MQTT.Root, cfg.Tenant, cfg.Node); err != nil {
		return err
	}
	for _, l := range cfg.Lines {
		if _, err := link(l, nil); err != nil {
			return err
		}
	}
	return nil
}

// link joins the devices of a line. saved, where it is not nil, returns what an earlier run found out about a device.
func link(l config.Line, saved func(dev, model string) []byte) (drivers.Link, error) {
	devices := make([]drivers.Device, len(l.Devices))
	for i, d := range l.Devices {
		devices[i] = d.Device
		if saved != nil {
			devices[i].DriverState = saved(d.ID, d.Model)
		}
	}
	link, err := l.Driver.Link(l.Endpoint.Line(l.ID), devices)
	if err != nil {
		return nil, fmt.Errorf("line %s: %w", l.ID, err)
	}
	return link, nil
}

// remember restores what earlier runs saved.
func (a *Agent) remember() {
	a.rememberClock()
	a.accounting.restore()
	for _, gone := range a.state.removedDevices(a.devices.ids()) {
		a.retained.Put(a.topics.Meta(gone), nil)
	}
	for _, id := range a.devices.ids() {
		a.descriptions.publish(id, a.state.descriptionOf(id, a.devices.model(id)))
	}
}

// Run blocks until ctx ends and everything has stopped: the lines, then a bounded flush, the uplink, the store. It
// returns the store's error. The agent survives every other fault and reports it as a condition.
func (a *Agent) Run(ctx context.Context) error {
	a.remember()
	store, err := buffer.Open(a.cfg.Buffer.Dir, buffer.Options{
		Codec:         record.NewCodec(),
		MaxSize:       a.cfg.Buffer.MaxSize,
		History:       a.cfg.Buffer.History,
		EnergyHistory: a.cfg.Buffer.EnergyHistory,
		Sync:          a.cfg.Buffer.Sync,
		DiskFree:      a.sys.DiskFree,
		First:         a.openedRow,
		Trusted:       a.clock.trusted,
		Logger:        a.log,
	})
	if err != nil {
		return fmt.Errorf("open buffer: %w", err)
	}
	up := uplink.New(uplink.Options{
		MQTT: a.cfg.MQTT, Node: a.cfg.Node, Topics: a.topics, Sync: a.cfg.Buffer.Sync, Dial: a.sys.DialMQTT,
		Now: a.clock.now, TLSTime: a.clock.tlsTime,
		Logger: a.log, Store: store, Retained: &a.retained, Conditions: a.conditions, Saved: &a.state,
		Status:    a.nodeStatus,
		Connected: a.reportGaps, GiveUp: a.giveUp,
		Cleared: func(topic string) { a.state.clear(topic[strings.LastIndexByte(topic, '/')+1:]) },
		Conflict: func(sessions int) {
			a.records.event(contract.NodeDevice, contract.IdentityConflict, map[string]any{"sessions": sessions})
		},
	})
	a.clock.stamp(time.Time{}) // detects whether the clock was set while the agent was not running
	earlier := a.clock.set.Load()
	a.mu.Lock()
	a.store, a.up, a.records.store = store, up, store
	a.mu.Unlock()
	a.records.event(contract.NodeDevice, contract.StoreOpened, a.openedData(store.Opened()))
	if earlier != nil {
		a.clockSet(earlier, a.clock.stamp(time.Time{}))
	}
	a.reportGaps()

	var forwarding, polling sync.WaitGroup
	forwarding.Go(func() { up.Run(context.WithoutCancel(ctx)) })
	for _, l := range a.lines {
		polling.Go(func() { l.run(ctx) })
	}
	polling.Go(func() { a.reportGapsPeriodically(ctx) })
	polling.Go(func() { a.conditions.Run(ctx) })
	polling.Go(func() { a.watchStore(ctx) })
	polling.Go(func() { up.WatchCredentials(ctx) })
	polling.Go(func() { a.watchConfig(ctx) })
	polling.Go(func() { a.keepCounts(ctx) })
	polling.Go(func() { a.accounting.run(ctx) })
	polling.Go(func() { a.keepClock(ctx) })
	a.notify("READY=1")
	a.log.Info("running", "node", a.cfg.Node, "lines", len(a.lines), "epoch", store.Opened().Epoch)

	<-ctx.Done()
	a.notify("STOPPING=1")
	polling.Wait()
	a.accounting.flush()
	up.Stop()
	forwarding.Wait()
	if err = store.Close(); err == nil {
		a.accounting.close()
	}
	a.log.Info("stopped")
	return err
}

// keepCounts measures the bytes written to storage and saves the running totals, periodically and at the end.
func (a *Agent) keepCounts(ctx context.Context) {
	for more := true; more; more = clock.Sleep(ctx, countsEvery) {
		if a.sys.Written != nil {
			if n, err := a.sys.Written(); err == nil {
				a.state.wrote(n)
			}
		}
		a.state.save(keptCounts, a.state.totals())
	}
	a.state.save(keptCounts, a.state.totals())
}

func (a *Agent) notify(state string) {
	if a.sys.Notify != nil {
		a.sys.Notify(state)
	}
}

// accept takes a report from a line. It is called from each line's goroutine and waits for at most one transaction.
func (a *Agent) accept(r drivers.Report) {
	at := a.clock.stamp(r.At)
	for _, o := range a.observers {
		o.Observe(&r, at)
	}
}

func (a *Agent) publishStatus() {
	a.mu.Lock()
	up := a.up
	a.mu.Unlock()
	if up != nil {
		up.PublishStatus()
	}
}

// nodeStatus is the node's status for the contract.
func (a *Agent) nodeStatus(sess string) contract.Status {
	now := a.clock.stamp(time.Time{})
	next := a.store.Next()
	s := contract.Status{
		Node: a.cfg.Node, State: contract.Online, Sess: sess, Boot: a.clock.boot,
		Ep: next.Epoch, Next: next.Seq, Backlog: a.backlog(),
		Clk: now.clk, Ver: a.sys.Version, TS: now.wall.UnixMilli(), Cfg: a.cfg.Sum, Sim: a.cfg.Simulation,
		Health: a.health(), Asleep: a.devices.asleep(),
		HW: a.hw, TLSUntil: uplink.ValidUntil(a.cfg.MQTT.CertFile),
	}
	if a.store.Opened().Memory {
		s.Store = contract.InMemory
	}
	totals := a.state.totals()
	s.Lost, s.BytesMonth, s.DiskDay = &totals.Lost, totals.Bytes, a.state.diskDay()
	if a.cfg.Site.Name != "" || a.cfg.Site.Located {
		s.Site = &contract.Site{Name: a.cfg.Site.Name, Lat: a.cfg.Site.Lat, Lon: a.cfg.Site.Lon}
	}
	return s
}

func (a *Agent) backlog() []contract.Backlog {
	var out []contract.Backlog
	for _, s := range a.store.Summary() {
		out = append(out, contract.Backlog{Ep: s.Epoch, First: s.First, Last: s.Last, N: s.N})
	}
	return out
}

// Status describes the state of the agent. It may be called at any time, from any goroutine.
func (a *Agent) Status() Status {
	_, clk := a.sys.Wall()
	s := Status{
		Node: a.cfg.Node, Version: a.sys.Version, Since: a.since, Clock: clk, Simulation: a.cfg.Simulation,
		Config: a.configStatus(),
		Lines:  a.devices.status(), Health: a.health(),
	}
	a.mu.Lock()
	store, up := a.store, a.up
	a.mu.Unlock()
	if store == nil {
		s.Store.Error = StoreNotOpen
		return s
	}
	m := a.clock.stamp(time.Time{})
	s.Clock, s.Now, s.Since = m.clk, m.wall, m.wall.Add(-time.Since(a.clock.began))
	s.Broker = up.Status()
	st := store.Stats()
	s.Store = StoreStatus{Epoch: st.Epoch, Next: st.Next, Backlog: a.backlog(), Bytes: st.DiskBytes,
		FromMemory: st.FromMemory,
		Memory:     st.FreshBytes, Max: st.MaxSize, Fault: st.Fault, WrittenDay: a.state.diskDay()}
	totals := a.state.totals()
	s.Sent, s.Lost = SentStatus{Month: totals.Month, Bytes: totals.Bytes}, totals.Lost
	return s
}
