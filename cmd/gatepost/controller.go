package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/admin"
	"github.com/gatepost/gatepost/internal/ids"
)

// controller answers the control socket's verbs with the running gateway.
type controller struct{ d *daemon }

// asked turns a refusal of the gateway into one that the command line understands.
func asked(err error) error {
	if errors.Is(err, gateway.ErrNoDevice) || errors.Is(err, gateway.ErrNoCommand) {
		return &admin.Error{Code: admin.NotFound, Text: err.Error()}
	}
	if errors.Is(err, gateway.ErrTooLong) {
		return &admin.Error{Code: admin.BadRequest, Text: err.Error()}
	}
	return err
}

func (c *controller) Devices(ctx context.Context) ([]deviceInfo, error) {
	list, err := c.d.gateway.Devices(ctx)
	if err != nil {
		return nil, err
	}
	rooms := map[ids.RoomKey]ids.RoomID{}
	for _, r := range c.d.gateway.Rooms() {
		rooms[r.Key] = r.Room
	}
	var out []deviceInfo
	for _, v := range list {
		i := deviceInfo{ID: string(v.ID), Name: v.Name, Room: string(v.Room), RoomID: string(rooms[v.Room]), User: string(c.d.matrix.Ghost(v.ID)), LastSeen: v.Seen}
		i.Announced = v.Announced
		i.Rule = c.d.gateway.RuleOf(v)
		out = append(out, i)
	}
	return out, nil
}

func (c *controller) Unsupported(ctx context.Context) ([]unsupportedInfo, error) {
	list, err := c.d.gateway.Unsupported(ctx)
	if err != nil {
		return nil, err
	}
	var out []unsupportedInfo
	for _, u := range list {
		out = append(out, unsupportedInfo{string(u.Device), u.Name, u.Reason})
	}
	return out, nil
}

func (c *controller) Unmatched(context.Context) ([]unmatchedInfo, error) {
	var out []unmatchedInfo
	for _, u := range c.d.gateway.Unmatched() {
		out = append([]unmatchedInfo{{Topic: u.Topic, Messages: u.Count, Bytes: u.Bytes, LastSeen: u.Last}}, out...)
	}
	return out, nil
}

func (c *controller) RemoveDevice(ctx context.Context, id string) error {
	return asked(c.d.gateway.RemoveDevice(ctx, ids.DeviceID(id)))
}

func (c *controller) Rooms(context.Context) ([]roomInfo, error) {
	var out []roomInfo
	for _, r := range c.d.gateway.Rooms() {
		i := roomInfo{Key: string(r.Key), RoomID: string(r.Room), Alias: "#" + r.Alias + ":" + c.d.cfg.Matrix.ServerName, Name: r.Name, State: "ready"}
		if r.Room == "" {
			i.State = "being made"
		}
		out = append(out, i)
	}
	return out, nil
}

// So many commands are listed when nobody says which.
const maxListed = 200

func (c *controller) Commands(ctx context.Context, which commandsRequest) ([]commandInfo, error) {
	list, err := c.d.gateway.Commands(ctx, math.MaxInt)
	if err != nil {
		return nil, err
	}
	var out []commandInfo
	for _, k := range list {
		i := aboutCommand(k)
		if which.Device != "" && i.Device != which.Device || i.Since.Before(which.Since) {
			continue
		}
		if out = append(out, i); len(out) == maxListed && which == (commandsRequest{}) {
			break
		}
	}
	return out, nil
}

func aboutCommand(k gateway.Command) commandInfo {
	i := commandInfo{ID: k.ID, Device: string(k.Device), Name: k.Name, Args: strings.Fields(k.Args), State: string(k.State), Reason: k.Reason, Via: k.Via}
	if k.Card != "" {
		i.Via = "its card"
	}
	if k.State != gateway.Refused {
		i.Grade = k.Grade.String()
	}
	for _, ch := range k.Changes {
		i.Changes = append(i.Changes, changeInfo{string(ch.State), ch.At})
	}
	if k.Event != "" || k.Via != "" {
		i.User = string(k.Sender)
	}
	if n := len(k.Changes); n > 0 {
		i.At, i.Since = k.Changes[0].At, k.Changes[n-1].At
	}
	return i
}

func (c *controller) Outbox(context.Context) ([]laneInfo, error) {
	var out []laneInfo
	_, why := c.d.ready()
	for _, l := range c.d.store.Lanes() {
		i := laneInfo{Lane: string(l.Lane), Records: l.Records, Bytes: l.Bytes, Classes: map[string]int{}, Oldest: l.Oldest, Wait: strings.Join(why, "; ")}
		for class, n := range l.Classes {
			i.Classes[class.String()] = n
		}
		out = append(out, i)
	}
	return out, nil
}

// So many dead letters are read at once.
const letterPage = 200

// allLetters calls f for every dead letter.
func (c *controller) allLetters(f func(lane.DeadLetter) error) error {
	var after uint64
	for {
		page, err := c.d.store.DeadLetters(after, letterPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, l := range page {
			after = l.Seq
			if err := f(l); err != nil {
				return err
			}
		}
	}
}

func (c *controller) DeadLetters(context.Context) ([]deadLetterInfo, error) {
	var out []deadLetterInfo
	err := c.allLetters(func(l lane.DeadLetter) error {
		out = append(out, aboutLetter(l))
		return nil
	})
	return out, err
}

func (c *controller) DeadLetter(_ context.Context, number uint64) (deadLetterInfo, error) {
	l, ok, err := c.d.store.DeadLetter(number)
	if err != nil {
		return deadLetterInfo{}, err
	}
	if !ok {
		return deadLetterInfo{}, noLetter(number)
	}
	return aboutLetter(l), nil
}

func noLetter(number uint64) error {
	return &admin.Error{Code: admin.NotFound, Text: fmt.Sprintf("there is no dead letter %d", number)}
}

func aboutLetter(l lane.DeadLetter) deadLetterInfo {
	r := l.Record
	return deadLetterInfo{
		Number: l.Seq, Lane: string(l.Lane), ID: r.ID, Device: string(r.Device), Class: r.Class.String(), Kind: string(r.Post.Kind), Topic: r.Topic,
		Reason: l.Reason, At: r.At, DeadAt: l.At, Text: r.Post.Text, Values: r.Post.Values, MIME: r.Post.MIME, Bytes: len(r.Post.Data),
	}
}

// letters names the dead letters that are meant; all of them exist.
func (c *controller) letters(which letters) ([]uint64, error) {
	if which.All {
		var all []uint64
		err := c.allLetters(func(l lane.DeadLetter) error {
			all = append(all, l.Seq)
			return nil
		})
		return all, err
	}
	for _, n := range which.Numbers {
		if _, ok, err := c.d.store.DeadLetter(n); err != nil {
			return nil, err
		} else if !ok {
			return nil, noLetter(n)
		}
	}
	return which.Numbers, nil
}

func (c *controller) RetryDeadLetters(_ context.Context, which letters) (int, error) {
	return c.each(which, c.d.store.Retry)
}

func (c *controller) DropDeadLetters(_ context.Context, which letters) (int, error) {
	return c.each(which, c.d.store.Drop)
}

func (c *controller) each(which letters, f func(uint64) error) (int, error) {
	list, err := c.letters(which)
	if err != nil {
		return 0, err
	}
	for i, n := range list {
		if err := f(n); err != nil {
			return i, err
		}
	}
	return len(list), nil
}

func (c *controller) Send(ctx context.Context, device, text string) error {
	return asked(c.d.gateway.Say(ctx, ids.DeviceID(device), text))
}

// So long before its time is over a verb answers with what it knows.
const answerBefore = 2 * time.Second

func (c *controller) RunCommand(ctx context.Context, device, name string, args []string) (commandInfo, error) {
	id, err := c.d.gateway.Command(ctx, ids.DeviceID(device), name, strings.Join(args, " "))
	if err != nil {
		return commandInfo{}, asked(err)
	}
	patience := time.NewTimer(admin.VerbTime - answerBefore)
	defer patience.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; ; {
		k, ok, err := c.d.gateway.CommandOf(ctx, id)
		if err != nil {
			return commandInfo{}, err
		}
		if !ok {
			return commandInfo{}, fmt.Errorf("the command %s is not known any more", id)
		}
		if k.Ended() || !waiting {
			return aboutCommand(k), nil
		}
		select {
		case <-tick.C:
		case <-patience.C:
			waiting = false
		case <-ctx.Done():
			return commandInfo{}, ctx.Err()
		}
	}
}

func (c *controller) Backup(ctx context.Context, w io.Writer) error {
	return writeBackup(ctx, w, c.d.cfg, c.d.databases())
}
