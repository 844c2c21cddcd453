package convention

import (
	"maps"
	"slices"
	"strings"
)

// Discovery messages may shorten the names of their keys to save memory on small devices. Most short names are the short
// form of what it is about and one of a few endings: bri_cmd_t is brightness + command_topic. haKey knows both halves; the
// rest is a list.

// haEndings are the endings, longer ones before those that end alike.
var haEndings = [][2]string{
	{"cmd_tpl", "command_template"},
	{"cmd_t", "command_topic"},
	{"stat_tpl", "state_template"},
	{"stat_t", "state_topic"},
	{"val_tpl", "value_template"},
	{"tpl", "template"},
	{"t", "topic"},
}

// haSubjects are what goes before an ending. Those that are written out alike are there too: only what is known is expanded.
var haSubjects = map[string]string{
	"act": "action", "aux": "aux", "avty": "availability", "away_mode": "away_mode", "b": "blue", "bat_lev": "battery_level", "bri": "brightness",
	"chrg": "charging", "cln": "cleaning", "clr_temp": "color_temp", "clrm": "color_mode", "cmd_off": "command_off", "cmd_on": "command_on",
	"curr_hum": "current_humidity", "curr_temp": "current_temperature", "dir": "direction", "dock": "dock", "err": "error", "fan_mode": "fan_mode",
	"fanspd": "fan_speed", "fx": "effect", "g": "green", "hold": "hold", "hs": "hs", "hum": "target_humidity", "img": "image",
	"json_attr": "json_attributes", "l_ver": "latest_version", "lrst": "last_reset", "mode": "mode", "osc": "oscillation", "pause": "pause",
	"pct": "percentage", "pos": "position", "pow": "power", "pr_mode": "preset_mode", "r": "red", "rgb": "rgb", "rgbw": "rgbw", "rgbww": "rgbww",
	"send": "send", "set_fan_spd": "set_fan_speed", "set_pos": "set_position", "spd": "speed", "stat": "state", "strt_mw": "start_mowing",
	"swing_h_mode": "swing_horizontal_mode", "swing_mode": "swing_mode", "temp": "temperature", "temp_hi": "temperature_high",
	"temp_lo": "temperature_low", "tilt": "tilt", "tilt_status": "tilt_status", "url": "url", "whit": "white", "whit_val": "white_value", "xy": "xy",
}

// haShort are the short names that are not made of subject and ending.
var haShort = map[string]string{
	// about the entity
	"atype": "automation_type", "def_ent_id": "default_entity_id", "dev": "device", "dev_cla": "device_class", "e": "encoding", "en": "enabled_by_default",
	"ent_cat": "entity_category", "ent_pic": "entity_picture", "ic": "icon", "obj_id": "object_id", "o": "origin", "p": "platform", "cmps": "components",
	"migr_discvry": "migrate_discovery", "stype": "subtype", "uniq_id": "unique_id", "avty": "availability", "avty_mode": "availability_mode",
	"json_attr": "json_attributes", "opt": "optimistic", "ret": "retain", "tit": "title",
	// about values
	"dsp_prc": "display_precision", "evt_typ": "event_types", "exp_aft": "expire_after", "frc_upd": "force_update", "init": "initial", "off_dly": "off_delay",
	"ops": "options", "ptrn": "pattern", "stat_cla": "state_class", "sug_dsp_prc": "suggested_display_precision", "unit_of_meas": "unit_of_measurement",
	"src_type": "source_type", "cont_type": "content_type", "img_e": "image_encoding", "rel_s": "release_summary", "rel_u": "release_url",
	// bounds and lists
	"av_tones": "available_tones", "bri_scl": "brightness_scale", "fanspd_lst": "fan_speed_list", "fx_list": "effect_list", "max_hum": "max_humidity",
	"max_k": "max_kelvin", "max_mirs": "max_mireds", "min_hum": "min_humidity", "min_k": "min_kelvin", "min_mirs": "min_mireds", "pr_modes": "preset_modes",
	"spd_rng_max": "speed_range_max", "spd_rng_min": "speed_range_min", "spds": "speeds", "swing_h_modes": "swing_horizontal_modes", "temp_unit": "temperature_unit",
	"whit_scl": "white_scale", "whit_val_scl": "white_value_scale", "clr_temp_k": "color_temp_kelvin", "clrm": "color_mode", "sup_clrm": "supported_color_modes",
	"sup_dur": "support_duration", "sup_feat": "supported_features", "sup_vol": "support_volume_set", "flsh": "flash", "flsh_tlng": "flash_time_long",
	"flsh_tsht": "flash_time_short", "trns": "transition", "on_cmd_type": "on_command_type",
	"pos": "reports_position", "pos_clsd": "position_closed", "pos_open": "position_open",
	"tilt_clsd_val": "tilt_closed_value", "tilt_opnd_val": "tilt_opened_value", "tilt_opt": "tilt_optimistic", "tilt_inv_stat": "tilt_invert_state",
	"cod_arm_req": "code_arm_required", "cod_dis_req": "code_disarm_required", "cod_trig_req": "code_trigger_required", "cod_form": "code_format",
	// payloads
	"pl": "payload", "pl_arm_away": "payload_arm_away", "pl_arm_custom_b": "payload_arm_custom_bypass", "pl_arm_home": "payload_arm_home",
	"pl_arm_nite": "payload_arm_night", "pl_arm_vacation": "payload_arm_vacation", "pl_avail": "payload_available", "pl_cln_sp": "payload_clean_spot",
	"pl_cls": "payload_close", "pl_dir_fwd": "payload_direction_forward", "pl_dir_rev": "payload_direction_reverse", "pl_disarm": "payload_disarm",
	"pl_hi_spd": "payload_high_speed", "pl_home": "payload_home", "pl_inst": "payload_install", "pl_lo_spd": "payload_low_speed", "pl_loc": "payload_locate",
	"pl_lock": "payload_lock", "pl_med_spd": "payload_medium_speed", "pl_not_avail": "payload_not_available", "pl_not_home": "payload_not_home",
	"pl_off": "payload_off", "pl_off_spd": "payload_off_speed", "pl_on": "payload_on", "pl_open": "payload_open", "pl_osc_off": "payload_oscillation_off",
	"pl_osc_on": "payload_oscillation_on", "pl_paus": "payload_pause", "pl_prs": "payload_press", "pl_ret": "payload_return_to_base", "pl_rst": "payload_reset",
	"pl_rst_hum": "payload_reset_humidity", "pl_rst_mode": "payload_reset_mode", "pl_rst_pct": "payload_reset_percentage",
	"pl_rst_pr_mode": "payload_reset_preset_mode", "pl_stop": "payload_stop", "pl_stop_tilt": "payload_stop_tilt", "pl_stpa": "payload_start_pause",
	"pl_strt": "payload_start", "pl_toff": "payload_turn_off", "pl_ton": "payload_turn_on", "pl_trig": "payload_trigger", "pl_unlk": "payload_unlock",
	// states
	"stat_closing": "state_closing", "stat_clsd": "state_closed", "stat_jam": "state_jammed", "stat_locked": "state_locked", "stat_locking": "state_locking",
	"stat_off": "state_off", "stat_on": "state_on", "stat_open": "state_open", "stat_opening": "state_opening", "stat_stopped": "state_stopped",
	"stat_unlocked": "state_unlocked", "stat_unlocking": "state_unlocking",
	// endings that are not as elsewhere
	"act_stat_t": "activity_state_topic", "act_val_tpl": "activity_value_template", "hum_state_tpl": "target_humidity_state_template",
	"pause_mw_cmd_t": "pause_command_topic", "pause_mw_cmd_tpl": "pause_command_template",
}

// haDeviceShort are the short names inside a device, haOriginShort those inside an origin.
var (
	haDeviceShort = map[string]string{
		"cns": "connections", "cu": "configuration_url", "hw": "hw_version", "ids": "identifiers", "mdl": "model", "mdl_id": "model_id", "mf": "manufacturer",
		"sa": "suggested_area", "sn": "serial_number", "sw": "sw_version",
	}
	haOriginShort = map[string]string{"sw": "sw_version", "url": "support_url"}
)

// haKey is the long name of a key of a discovery message. One that is long already, or unknown, stays as it is.
func haKey(short string) string {
	if long, ok := haShort[short]; ok {
		return long
	}
	for _, e := range haEndings {
		if short == e[0] {
			return e[1]
		}
		if subject, ok := strings.CutSuffix(short, "_"+e[0]); ok {
			if long, ok := haSubjects[subject]; ok {
				return long + "_" + e[1]
			}
		}
	}
	return short
}

// haLong copies o with long names, those of device, origin and availability too. Where a long and a short name say the same
// thing, the long one counts.
func haLong(o map[string]any) map[string]any {
	out := lengthen(o, haKey)
	named := func(table map[string]string) func(string) string {
		return func(k string) string {
			if long, ok := table[k]; ok {
				return long
			}
			return k
		}
	}
	if d, ok := out["device"].(map[string]any); ok {
		out["device"] = lengthen(d, named(haDeviceShort))
	}
	if d, ok := out["origin"].(map[string]any); ok {
		out["origin"] = lengthen(d, named(haOriginShort))
	}
	if list, ok := out["availability"].([]any); ok {
		long := make([]any, 0, len(list))
		for _, item := range list {
			if a, ok := item.(map[string]any); ok {
				long = append(long, lengthen(a, haKey))
			}
		}
		out["availability"] = long
	} else if a, ok := out["availability"].(map[string]any); ok {
		out["availability"] = []any{lengthen(a, haKey)}
	}
	return out
}

func lengthen(o map[string]any, name func(string) string) map[string]any {
	out := make(map[string]any, len(o))
	for _, k := range slices.Sorted(maps.Keys(o)) {
		long := name(k)
		if _, there := out[long]; there && k != long {
			continue
		}
		out[long] = o[k]
	}
	return out
}

// haBase puts base in place of a "~" at the beginning or the end of every topic of o, a copy made by haLong.
func haBase(o map[string]any, base string) {
	put := func(o map[string]any) {
		for k, v := range o {
			s, ok := v.(string)
			if !ok || !strings.HasSuffix(k, "topic") || len(s) > MaxTopic {
				continue
			}
			if rest, ok := strings.CutPrefix(s, "~"); ok {
				s = base + rest
			}
			if rest, ok := strings.CutSuffix(s, "~"); ok {
				s = rest + base
			}
			o[k] = s
		}
	}
	put(o)
	if list, ok := o["availability"].([]any); ok {
		for _, item := range list {
			if a, ok := item.(map[string]any); ok {
				put(a)
			}
		}
	}
}
