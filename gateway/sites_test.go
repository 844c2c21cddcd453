package gateway

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// people of two sites: bob is everywhere, carl only in Home, dora has another power in each.
func sited() People {
	return People{
		Owners: []ids.UserID{"@alice:x"}, Members: map[ids.UserID]int{"@bob:x": 25},
		Sites: map[string]map[ids.UserID]int{"Home": {"@carl:x": 25, "@dora:x": 0}, "Garage": {"@dora:x": 50, "@bob:x": 0}},
	}
}

func TestPeopleOfASiteAreInItsRoomsAlone(t *testing.T) {
	rules := []RuleSpec{{Topic: "{site}/{device}", Device: "{device}", Space: "{site}", Class: lane.Alarm}, {Topic: "other/x/{device}", Class: lane.Event}}
	inWorld(t, rules, func(w *world) {
		if err := w.g.Reload(w.t.Context(), mustRules(t, rules), sited(), nil); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Home/lamp", "Garage/door", "other/x/mast"} {
			w.publish(name, "1")
		}
		synctest.Wait()
		got := map[string]string{}
		for _, c := range w.matrix.created {
			var people []string
			for _, u := range []ids.UserID{"@alice:x", "@bob:x", "@carl:x", "@dora:x"} {
				if p, ok := c.Power[u]; ok {
					people = append(people, string(u[1:2])+" "+strings.Repeat("+", p/25))
				}
			}
			got[c.Name] = strings.Join(people, " ")
		}
		for name, want := range map[string]string{
			"gatepost": "a ++++", "Home": "a ++++ b + c + d ", "lamp": "a ++++ b + c + d ", "Garage": "a ++++ b  d ++", "door": "a ++++ b  d ++", "mast": "a ++++ b +",
		} {
			if got[name] != want {
				t.Errorf("%s has %q, want %q", name, got[name], want)
			}
		}
		for _, p := range w.matrix.posts {
			if p.Device == "lamp" && len(p.Post.Mentions) != 4 || p.Device == "door" && len(p.Post.Mentions) != 3 {
				t.Errorf("an alarm of %s mentions %v", p.Device, p.Post.Mentions)
			}
		}
		for _, row := range []struct {
			device ids.DeviceID
			user   ids.UserID
			may    bool
		}{{"lamp", "@carl:x", true}, {"door", "@carl:x", false}, {"lamp", "@dora:x", false}, {"door", "@dora:x", true}, {"door", "@bob:x", false}, {"mast", "@bob:x", true}, {"mast", "@dora:x", false}, {"door", "@alice:x", true}} {
			if g := w.g.mayCall(row.user, row.device); g != row.may {
				t.Errorf("%s may call %s: %v", row.user, row.device, g)
			}
		}

		// Carl goes from Home to the garage: there he is invited, in Home he loses what he could do.
		n, p := len(w.matrix.calls), sited()
		p.Sites["Garage"]["@carl:x"] = 25
		delete(p.Sites["Home"], "@carl:x")
		if err := w.g.Reload(w.t.Context(), mustRules(t, rules), p, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		invited, levels := 0, 0
		for _, c := range w.matrix.calls[n:] {
			switch {
			case strings.HasPrefix(c, "invite ") && strings.HasSuffix(c, " @carl:x"):
				invited++
			case strings.HasPrefix(c, "power "):
				levels++
			default:
				t.Errorf("also %s", c)
			}
		}
		if invited != 2 || levels != 4 { // each a space and a room
			t.Errorf("%d invitations, %d changes of power: %q", invited, levels, w.matrix.calls[n:])
		}
	})
}
