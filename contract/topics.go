package contract

import (
	"fmt"
	"strconv"
	"strings"
)

// DefaultRoot is the first level of every topic unless the configuration says otherwise.
const DefaultRoot = "bordo"

// Topic kinds: the level after the node.
const (
	KindTele   = "tele"   // up: live samples of a device
	KindHist   = "hist"   // up: samples that were not acknowledged when they were fresh
	KindHistz  = "histz"  // up: messages of hist, gzipped; only where it was asked for
	KindEvent  = "event"  // up: what happened, CloudEvents
	KindStatus = "status" // up, retained: the node, its session and its backlog
	KindMeta   = "meta"   // up, retained: what the points of a device mean
	KindCmd    = "cmd"    // down: signed commands
	KindRes    = "res"    // up: the life of each command, CloudEvents
	KindAck    = "ack"    // down, retained: what the platform has stored
	KindAccess = "access" // down, retained: the signed allow-list in parts
)

// perDevice lists the kinds whose topic ends in a device id (access: in a part number).
func perDevice(kind string) bool {
	switch kind {
	case KindTele, KindHist, KindHistz, KindEvent, KindMeta, KindAccess:
		return true
	}
	return false
}

func knownKind(kind string) bool {
	switch kind {
	case KindStatus, KindCmd, KindRes, KindAck:
		return true
	}
	return perDevice(kind)
}

// CheckRoot returns what is wrong with a root: it must be one to three ids joined by slashes.
func CheckRoot(root string) error {
	levels := strings.Split(root, "/")
	if len(levels) > 3 {
		return fmt.Errorf("root %q must have at most three levels", root)
	}
	for _, l := range levels {
		if err := CheckID(l); err != nil {
			return fmt.Errorf("root %q: %w", root, err)
		}
	}
	return nil
}

// Topics builds the topics of one node. The zero value is not usable; NewTopics validates its arguments.
type Topics struct {
	root, tenant, node string
	base               string // {root}/v1/{tenant}/{node}/
}

// NewTopics returns the topics of a node. An empty root means DefaultRoot.
func NewTopics(root, tenant, node string) (Topics, error) {
	if root == "" {
		root = DefaultRoot
	}
	if err := CheckRoot(root); err != nil {
		return Topics{}, err
	}
	if err := CheckID(tenant); err != nil {
		return Topics{}, fmt.Errorf("tenant: %w", err)
	}
	if err := CheckID(node); err != nil {
		return Topics{}, fmt.Errorf("node: %w", err)
	}
	return Topics{root, tenant, node, root + "/v1/" + tenant + "/" + node + "/"}, nil
}

// Root, Tenant and Node return what NewTopics was given.
func (t Topics) Root() string { return t.root }

// Tenant returns the tenant.
func (t Topics) Tenant() string { return t.tenant }

// Node returns the node id, which is also the MQTT client id and the name in the certificate.
func (t Topics) Node() string { return t.node }

// Tele is where live samples of dev go: QoS 1, not retained.
func (t Topics) Tele(dev string) string { return t.base + KindTele + "/" + dev }

// Hist is where backfilled samples of dev go: QoS 1, not retained.
func (t Topics) Hist(dev string) string { return t.base + KindHist + "/" + dev }

// Histz is where gzipped backfill of dev goes: QoS 1, not retained.
func (t Topics) Histz(dev string) string { return t.base + KindHistz + "/" + dev }

// Event is where events of dev go (NodeDevice: of the node itself): QoS 1, not retained.
func (t Topics) Event(dev string) string { return t.base + KindEvent + "/" + dev }

// Status is where birth, refresh, goodbye and will go, always QoS 1 and retained.
func (t Topics) Status() string { return t.base + KindStatus }

// Meta is the topic of a device's description: QoS 1, retained. An empty payload removes it.
func (t Topics) Meta(dev string) string { return t.base + KindMeta + "/" + dev }

// Cmd is where the node hears commands: QoS 1. A command that arrives retained is refused.
func (t Topics) Cmd() string { return t.base + KindCmd }

// Res is the topic of command states: QoS 1, not retained.
func (t Topics) Res() string { return t.base + KindRes }

// Ack is the topic on which the platform acknowledges what it has stored: QoS 1, retained.
func (t Topics) Ack() string { return t.base + KindAck }

// Access is the topic of part n of the allow-list, counted from 1: QoS 1, retained.
func (t Topics) Access(part int) string { return t.base + KindAccess + "/" + strconv.Itoa(part) }

// AccessFilter is the subscription for all parts of the allow-list.
func (t Topics) AccessFilter() string { return t.base + KindAccess + "/+" }

// Source is the CloudEvents source of dev: /{tenant}/{node}/{dev}.
func (t Topics) Source(dev string) string { return "/" + t.tenant + "/" + t.node + "/" + dev }

// Filter returns the topic filter of a central subscription: one kind, of all nodes of a tenant or of one. An empty
// tenant or node means all. It works for every kind; of kinds with a device or part it matches all of them.
func Filter(root, tenant, node, kind string) string {
	if root == "" {
		root = DefaultRoot
	}
	if tenant == "" {
		tenant = "+"
	}
	if node == "" {
		node = "+"
	}
	f := root + "/v1/" + tenant + "/" + node + "/" + kind
	if perDevice(kind) {
		f += "/+"
	}
	return f
}

// Address is what a topic says.
type Address struct {
	Tenant, Node string
	Kind         string // one of the Kind constants
	Dev          string // the device; of access the part number; empty for the other kinds
}

// ParseTopic takes a topic apart. It refuses what NewTopics cannot have made.
func ParseTopic(root, topic string) (Address, error) {
	if root == "" {
		root = DefaultRoot
	}
	rest, ok := strings.CutPrefix(topic, root+"/v1/")
	if !ok {
		return Address{}, fmt.Errorf("parse topic %q: not below %s/v1/", topic, root)
	}
	part := strings.Split(rest, "/")
	if len(part) < 3 || len(part) > 4 || !knownKind(part[2]) || perDevice(part[2]) != (len(part) == 4) {
		return Address{}, fmt.Errorf("parse topic %q: not {tenant}/{node}/{kind} or {tenant}/{node}/{kind}/{dev} below %s/v1/", topic, root)
	}
	for i, p := range part {
		if err := CheckID(p); i != 2 && err != nil {
			return Address{}, fmt.Errorf("parse topic %q: %w", topic, err)
		}
	}
	a := Address{Tenant: part[0], Node: part[1], Kind: part[2]}
	if len(part) == 4 {
		a.Dev = part[3]
	}
	return a, nil
}
