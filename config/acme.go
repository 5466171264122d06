package config

// ACME says how pace gets certificates itself.
type ACME struct {
	Domains     []string `toml:"domains" example:"www.example.com" is:"domain" doc:"Host names for which pace gets certificates, one for each name, and renews them in time. To check that a name is yours, the certificate authority connects to it: at port 443, which must lead to a listener with TLS, or at port 80, which must lead to one without. Wildcards are refused, because they need a DNS challenge, which pace cannot answer."`
	Storage     string   `toml:"storage" example:"/var/lib/pace/acme" is:"folder" doc:"Folder for the certificates, the keys and the account. pace makes it, with mode 0700, if it does not exist. Keep it when you move or reinstall pace: without it pace requests every certificate again, and soon reaches the limits of the certificate authority. Several processes of pace on one machine may share it."`
	AcceptTerms bool     `toml:"accept_terms" default:"false" example:"true" doc:"Must be true: you agree to the certificate authority's terms of service."`
	Email       string   `toml:"email" default:"" is:"email?" doc:"Email address to which the certificate authority may write."`
	Directory   string   `toml:"directory" default:"https://acme-v02.api.letsencrypt.org/directory" is:"directory" doc:"URL of the certificate authority's directory."`
	CA          string   `toml:"ca" default:"" is:"file?" doc:"File with the certificates, in PEM, of the authorities that pace trusts when it connects to the directory; \"\": those that the system trusts. It is read at the start and at each reload."`
}

// acme checks the table.
func (r *reader) acme(c *Config) {
	if c.ACME == nil {
		return
	}
	const terms = "acme.accept_terms"
	for _, f := range r.faults {
		if f.Key == terms && f.Remedy == "write false" {
			f.Remedy = "write true"
		}
	}
	switch what := "the certificate authority issues nothing until you agree to its terms of service"; {
	case c.ACME.AcceptTerms || r.faulted(terms):
	case r.file.lines[terms] > 0:
		r.fault(terms, what, "write true")
	default:
		r.at(r.file.lines["acme"], terms, what, "write accept_terms = true under [acme]")
	}
}
