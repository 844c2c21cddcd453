package main

import (
	"fmt"
	"strings"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/mqtt/broker"
)

// accounts are those of the embedded broker.
func accounts(cfg *config.Config) ([]broker.Account, error) {
	if cfg.MQTT == nil {
		return nil, nil
	}
	var out []broker.Account
	var errs []error
	for i, a := range cfg.MQTT.Accounts {
		permissions := func(key string, list []string) (ps []broker.Permission) {
			for j, s := range list {
				p, err := broker.ParsePermission(s)
				if err != nil {
					errs = append(errs, cfg.At(fmt.Sprintf("mqtt.accounts[%d].%s[%d]", i, key, j), err))
					continue
				}
				ps = append(ps, p)
			}
			return ps
		}
		next := broker.Account{
			User: a.User, Password: a.Password.Reveal(), Hash: a.PasswordHash.Reveal(), Certificate: a.Certificate, Anonymous: a.Anonymous,
			Publish: permissions("publish", a.Publish), Subscribe: permissions("subscribe", a.Subscribe),
		}
		if err := next.Check(); err != nil {
			errs = append(errs, cfg.At(fmt.Sprintf("mqtt.accounts[%d]", i), err))
		}
		out = append(out, next)
	}
	return out, config.Join(errs...)
}

// checkBroker checks what the embedded broker needs: accounts, and the files for TLS.
func checkBroker(cfg *config.Config) error {
	_, err := accounts(cfg)
	errs := []error{err}
	m := cfg.MQTT
	if m == nil || m.URL != "" {
		return err
	}
	for _, l := range m.Listen {
		if strings.HasPrefix(l, "mqtts:") || strings.HasPrefix(l, "wss:") {
			cert, ca := broker.CheckTLS(m.CertFile, m.KeyFile, m.ClientCAFile)
			errs = append(errs, cfg.At("mqtt.cert_file", cert), cfg.At("mqtt.client_ca_file", ca))
			break
		}
	}
	return config.Join(errs...)
}

// checkReload refuses accounts that the running broker could not have, with the listeners that it has.
func (d *daemon) checkReload(next *config.Config) error {
	if _, err := checkWiring(next); err != nil || d.broker == nil {
		return err
	}
	all, err := accounts(next)
	if err != nil {
		return err
	}
	if err := d.broker.CheckAccounts(all); err != nil {
		return config.Join(next.At("mqtt.accounts", fmt.Errorf("%w (mqtt.listen, anonymous and client_ca_file change with a restart only)", err)))
	}
	return nil
}

// limits are those of the embedded broker.
func limits(m *config.MQTT) broker.Limits {
	return broker.Limits{
		Connections: m.Limits.Connections, PerAddress: m.Limits.ConnectionsPerAddress, LoginFailures: m.Limits.LoginFailures,
		ConnectTime: m.Limits.ConnectTime, Sessions: m.Sessions.Max, SessionExpiry: m.Sessions.Expire,
	}
}
