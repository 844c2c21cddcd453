package matrix

import "errors"

var (
	// ErrRefused is returned by Probe when the homeserver does not accept our token, or does not let it speak as the bot.
	// Nothing can be sent until a person acts; Run keeps asking.
	ErrRefused = errors.New("matrix: refused by the homeserver")
	// ErrServerName is returned by Probe when the homeserver is not the one that the configuration names.
	ErrServerName = errors.New("matrix: another server name")
	// ErrNotAsked is what Ready says until the first Probe ended.
	ErrNotAsked = errors.New("matrix: the homeserver has not been asked yet")
	// ErrUnreachable is part of what Ready says when the homeserver answers us but cannot deliver transactions to us.
	ErrUnreachable = errors.New("matrix: the homeserver cannot reach our listener")
	// ErrWrongKey is returned by New when the crypto file was written with another key than the one it is given.
	ErrWrongKey = errors.New("matrix: the crypto file was written with another key")
	// ErrCopied is part of what Ready says when the crypto file is a copy that another program goes on with.
	ErrCopied = errors.New("matrix: another gatepost uses a copy of gatepost-crypto.db, so nothing is encrypted here any more: stop one of the two, remove its folder, and start the other again")

	// ErrUnsigned says that the bot's device carries no signature of the bot's own keys, and that only a person can change that:
	// with the recovery key, with a backup that holds the seeds, or by giving the bot new keys.
	ErrUnsigned = errors.New("matrix: the bot's device cannot be signed")
	// ErrRecoveryKey is returned for a recovery key that is none, or not the bot's.
	ErrRecoveryKey = errors.New("matrix: not the bot's recovery key")

	errTooLong = errors.New("the answer is too long")
)
