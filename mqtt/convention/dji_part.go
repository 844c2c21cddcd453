package convention

import (
	"slices"
	"strconv"
	"time"
)

// djiProperties are the properties of aircraft, docks and remote controllers that people want to see.
var djiProperties = []djiProperty{
	{"mode_code", "mode", "Mode", Text, "", "", nil},
	{"battery.capacity_percent", "battery", "Battery", Number, "%", "battery", nil},
	{"capacity_percent", "battery", "Battery", Number, "%", "battery", nil},
	{"battery.remain_flight_time", "flight_time_left", "Flight time left", Number, "s", "duration", nil},
	{"height", "height", "Height above sea level", Number, "m", "distance", nil},
	{"elevation", "elevation", "Height above take-off", Number, "m", "distance", nil},
	{"horizontal_speed", "speed", "Speed", Number, "m/s", "speed", nil},
	{"vertical_speed", "vertical_speed", "Vertical speed", Number, "m/s", "speed", nil},
	{"attitude_head", "heading", "Heading", Number, "°", "", nil},
	{"home_distance", "home_distance", "Distance from home", Number, "m", "distance", nil},
	{"wind_speed", "wind_speed", "Wind", Number, "m/s", "wind_speed", nil},
	{"firmware_version", "firmware", "Firmware", Text, "", "", nil},
	{"position_state.gps_number", "satellites", "Satellites", Number, "", "", nil},
	{"cover_state", "cover", "Cover", Option, "", "", map[string]string{"0": "closed", "1": "open", "2": "half open", "3": "faulty"}},
	{"drone_in_dock", "drone_in_dock", "Aircraft in the dock", OnOff, "", "", nil},
	{"drone_charge_state.capacity_percent", "drone_battery", "Battery of the aircraft", Number, "%", "battery", nil},
	{"temperature", "temperature", "Temperature inside", Number, "°C", "temperature", nil},
	{"environment_temperature", "environment_temperature", "Temperature outside", Number, "°C", "temperature", nil},
	{"humidity", "humidity", "Humidity inside", Number, "%", "humidity", nil},
	{"rainfall", "rainfall", "Rain", Option, "", "", map[string]string{"0": "none", "1": "light", "2": "moderate", "3": "heavy"}},
	{"supplement_light_state", "light", "Light", OnOff, "", "", nil},
	{"emergency_stop_state", "emergency_stop", "Emergency stop", OnOff, "", "safety", nil},
	{"putter_state", "putter", "Putter", Option, "", "", map[string]string{"0": "closed", "1": "open", "2": "half open", "3": "faulty"}},
	{"network_state.quality", "network", "Network quality", Number, "", "", nil},
}

// The modes of aircraft and of docks.
var (
	djiModes = map[string]string{
		"0": "standby", "1": "preparing take-off", "2": "ready for take-off", "3": "flown by hand", "4": "taking off", "5": "on a route", "6": "panorama", "7": "tracking",
		"8": "avoiding another aircraft", "9": "returning home", "10": "landing", "11": "forced landing", "12": "landing with three propellers", "13": "updating",
		"14": "not connected", "15": "APAS", "16": "flown by stick", "17": "flown live",
	}
	djiDockModes = map[string]string{"0": "idle", "1": "maintenance on site", "2": "remote maintenance", "3": "updating", "4": "at work"}
)

// djiModels are the products by their type and sub-type.
var djiModels = map[string]string{
	"56-0": "Remote controller with screen", "119-0": "RC Plus", "144-0": "RC Pro", "174-0": "RC Plus 2", "1-0": "Dock", "2-0": "Dock 2", "3-0": "Dock 3",
	"60-0": "Matrice 300 RTK", "89-0": "Matrice 350 RTK", "67-0": "Matrice 30", "67-1": "Matrice 30T", "77-0": "Mavic 3E", "77-1": "Mavic 3T", "77-3": "Mavic 3TA",
	"91-0": "Matrice 3D", "91-1": "Matrice 3TD", "99-0": "Matrice 4E", "99-1": "Matrice 4T", "100-0": "Matrice 4D", "100-1": "Matrice 4TD", "103-0": "Matrice 400",
}

func djiModel(data map[string]any) string {
	kind := str(data["type"])
	return firstOf(djiModels[kind+"-"+str(data["sub_type"])], clean("type "+kind, MaxWord))
}

// millis is a time as the Cloud API writes it.
func millis(t time.Time) string { return strconv.FormatInt(max(t.UnixMilli(), 0), 10) }

// djiOrders are the orders of a dock. All of them move something, or take effect on something that flies.
var djiOrders = []struct{ name, label string }{
	{"return_home", "Call the aircraft back"},
	{"return_home_cancel", "Stop the return"},
	{"debug_mode_open", "Begin maintenance (the orders below need it)"},
	{"debug_mode_close", "End maintenance"},
	{"cover_open", "Open the cover"},
	{"cover_close", "Close the cover"},
	{"drone_open", "Switch the aircraft on"},
	{"drone_close", "Switch the aircraft off"},
	{"charge_open", "Begin charging"},
	{"charge_close", "End charging"},
	{"supplement_light_open", "Switch the light on"},
	{"supplement_light_close", "Switch the light off"},
	{"device_reboot", "Restart the dock"},
}

func (d *djiDevice) part() Part {
	s := d.next
	p := Part{
		Convention: d.c.Name(), Key: d.key, IDs: []string{"dji:" + d.key}, Name: firstOf(s.Model, "DJI") + " " + d.key, Manufacturer: "DJI", Model: s.Model, Kind: Drone,
	}
	if s.Gateway != "" && s.Gateway != d.key {
		p.Via = "dji:" + s.Gateway
	}
	if s.Dock {
		p.Kind, p.Model = Bridge, firstOf(s.Model, "Dock")
		for _, o := range djiOrders {
			p.Commands = append(p.Commands, Command{
				Name: o.name, Label: o.label, Topic: "thing/product/" + d.key + "/services", Grade: Dangerous, Confirm: &Confirm{Answer: true},
				Payload: `{"tid":"{{ transaction }}","bid":"{{ transaction }}","method":"` + o.name + `","data":{}}`,
			})
		}
	}
	done := map[string]bool{}
	for _, known := range djiProperties {
		if !slices.Contains(s.Readings, known.name) || done[known.name] {
			continue
		}
		done[known.name] = true
		r := Reading{Name: known.name, Label: known.label, Kind: known.kind, Unit: known.unit, Quantity: known.quantity, Precision: -1, Diagnostic: known.name == "firmware" || known.name == "satellites"}
		if r.Kind == OnOff {
			r.On, r.Off = "true", "false"
		}
		for i := 0; i < len(known.words); i++ {
			r.Options = append(r.Options, known.words[strconv.Itoa(i)])
		}
		p.Readings = append(p.Readings, r)
	}
	return finish(p)
}
