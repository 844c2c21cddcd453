package turn

import "fmt"

// Update puts other secrets, users and limits in place while the server runs: those of cfg, whose other fields must be what
// New was given and are checked only. Live allocations go on as they are; who has more than the new limits allow keeps it
// and gets no more. BytesPerSecondPerUser holds for users who have no allocation at that time; connections and answers to
// strangers keep their limits. An error is ErrConfig, and nothing has changed. Safe for concurrent use.
func (s *Server) Update(cfg Config) error {
	cfg, err := cfg.checked()
	if err != nil {
		return err
	}
	if cfg.Realm != s.cfg.Realm {
		return fmt.Errorf("%w: another Realm needs a restart", ErrConfig)
	}
	s.handler.credentials.Store(newCredentials(cfg.Realm, cfg.Secrets, cfg.Users))
	s.handler.quotas.setLimits(cfg.Limits)
	return nil
}
