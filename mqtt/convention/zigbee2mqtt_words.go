package convention

import "strings"

// zigbeeAlarms are the binary values that are alarms while they are on, with the words for people.
var zigbeeAlarms = map[string]string{
	"smoke": "Smoke", "carbon_monoxide": "Carbon monoxide", "gas": "Gas", "water_leak": "Water leak", "tamper": "Tampering",
	"sos": "Call for help", "battery_low": "Battery low", "trouble": "Trouble", "rain": "Rain",
}

// zigbeeBinary says what binary values are about.
var zigbeeBinary = map[string]string{
	"contact": "door", "occupancy": "occupancy", "presence": "presence", "smoke": "smoke", "carbon_monoxide": "carbon_monoxide",
	"gas": "gas", "water_leak": "moisture", "tamper": "tamper", "vibration": "vibration", "battery_low": "battery", "moving": "moving",
	"lock_state": "lock", "ac_connected": "plug", "charging": "battery_charging", "trouble": "problem", "update_available": "update",
}

// quantities are the names of measurements that mean the same in all conventions.
var quantities = map[string]string{
	"temperature": "temperature", "local_temperature": "temperature", "device_temperature": "temperature", "soil_temperature": "temperature", "dew_point": "temperature",
	"current_temperature": "temperature", "occupied_heating_setpoint": "temperature", "current_heating_setpoint": "temperature",
	"humidity": "humidity", "soil_moisture": "moisture", "moisture": "moisture", "pressure": "atmospheric_pressure", "air_pressure": "atmospheric_pressure",
	"battery": "battery", "battery_level": "battery", "linkquality": "signal_strength", "rssi": "signal_strength", "signal": "signal_strength",
	"illuminance": "illuminance", "illuminance_lux": "illuminance", "luminosity": "illuminance",
	"power": "power", "power_apparent": "apparent_power", "apparent_power": "apparent_power", "power_reactive": "reactive_power",
	"energy": "energy", "produced_energy": "energy", "voltage": "voltage", "battery_voltage": "voltage", "current": "current", "power_factor": "power_factor",
	"ac_frequency": "frequency", "frequency": "frequency",
	"co2": "carbon_dioxide", "carbon_dioxide": "carbon_dioxide", "co": "carbon_monoxide", "voc": "volatile_organic_compounds", "pm25": "pm25", "pm10": "pm10", "pm1": "pm1",
	"formaldehyd": "volatile_organic_compounds", "aqi": "aqi", "distance": "distance", "speed": "speed", "wind_speed": "wind_speed", "water_consumed": "water",
	"ph": "ph", "noise": "sound_pressure", "duration": "duration", "rain": "precipitation",
}

// quantityOf says what a number is about by its name, also where the name has an ending for one of several outlets
// ("power_l1"), or by its unit.
func quantityOf(name, unit string) string {
	switch unit {
	case "°C", "°F", "℃", "℉":
		return "temperature"
	}
	if q := quantities[name]; q == "atmospheric_pressure" && (unit == "bar" || unit == "psi" || unit == "MPa" || unit == "Pa") {
		return "pressure"
	} else if q != "" {
		return q
	}
	if i := strings.LastIndexByte(name, '_'); i > 0 {
		if q := quantities[name[:i]]; q != "" {
			return q
		}
		if q := quantities[name[i+1:]]; q != "" {
			return q
		}
	}
	switch unit {
	case "kWh", "Wh":
		return "energy"
	case "W", "kW":
		return "power"
	case "lx":
		return "illuminance"
	case "hPa", "kPa":
		return "pressure"
	}
	return ""
}
