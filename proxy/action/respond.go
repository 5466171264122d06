package action

// Respond returns the action that responds to every request with a status, and a body that may be empty.
func Respond(status int, body string) Action { return respond{&Response{Status: status, Body: body}} }

type respond struct{ response *Response }

func (r respond) Choose(Request) Choice { return Choice{Response: r.response} }
