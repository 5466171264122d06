package acme

import (
	"cmp"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"io/fs"
	"path"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// accountFolder returns where the account is in the storage. Another address is another account.
func (i *issuer) accountFolder() string {
	return path.Join("acme", certmagic.StorageKeys.Safe(i.key), "pace", certmagic.StorageKeys.Safe(cmp.Or(i.Email, "default")))
}

func (i *issuer) accountFiles() (account, key string) {
	folder := i.accountFolder()
	return path.Join(folder, "account.json"), path.Join(folder, "account.key")
}

// lockAccount keeps every manager with the same storage from reading or changing the account, those of other processes
// as well. Otherwise two that find none would both register one.
func (i *issuer) lockAccount(ctx context.Context) (unlock func(), err error) {
	name := i.accountFolder()
	if err := i.storage.Lock(ctx, name); err != nil {
		return nil, err
	}
	return func() { i.storage.Unlock(ctx, name) }, nil
}

// registered returns the account. It registers one if none is stored.
func (i *issuer) registered(ctx context.Context) (acme.Account, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.account != nil {
		return *i.account, nil
	}
	unlock, err := i.lockAccount(ctx)
	if err != nil {
		return acme.Account{}, err
	}
	defer unlock()
	account, err := i.readAccount(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		account, err = i.register(ctx)
	}
	if err != nil {
		return account, err
	}
	i.account = &account
	return account, nil
}

func (i *issuer) readAccount(ctx context.Context) (account acme.Account, err error) {
	file, keyFile := i.accountFiles()
	text, err := i.storage.Load(ctx, file)
	if err != nil {
		return account, err
	}
	key, err := i.storage.Load(ctx, keyFile)
	if err != nil {
		return account, err
	}
	if err := json.Unmarshal(text, &account); err != nil {
		return account, err
	}
	account.PrivateKey, err = certmagic.PEMDecodePrivateKey(key)
	return account, err
}

// register makes an account at the CA. The configuration has accepted the CA's terms.
func (i *issuer) register(ctx context.Context) (acme.Account, error) {
	account := acme.Account{TermsOfServiceAgreed: true}
	if i.Email != "" {
		account.Contact = []string{"mailto:" + i.Email}
	}
	key, err := certmagic.StandardKeyGenerator{KeyType: certmagic.P256}.GenerateKey()
	if err != nil {
		return account, err
	}
	account.PrivateKey = key.(crypto.Signer)
	if account, err = i.client.NewAccount(ctx, account); err != nil {
		return account, err
	}
	text, err := json.Marshal(account)
	if err != nil {
		return account, err
	}
	pem, err := certmagic.PEMEncodePrivateKey(key)
	if err != nil {
		return account, err
	}
	file, keyFile := i.accountFiles()
	if err := i.storage.Store(ctx, keyFile, pem); err != nil {
		return account, err
	}
	return account, i.storage.Store(ctx, file, text)
}

// forgetAccount removes an account that the CA does not know any more, by its location. Several orders may find that
// out; the first one removes it, and what is registered then stays.
func (i *issuer) forgetAccount(ctx context.Context, location string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.account = nil
	unlock, err := i.lockAccount(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if stored, err := i.readAccount(ctx); err == nil && stored.Location != location {
		return nil
	}
	file, keyFile := i.accountFiles()
	return errors.Join(i.storage.Delete(ctx, file), i.storage.Delete(ctx, keyFile))
}
