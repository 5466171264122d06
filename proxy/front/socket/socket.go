// Package socket asks the kernel about a client's connection or a listener what package net does not tell. On
// other systems than Linux each question has the response that changes nothing. It must not know HTTP, nor
// any other package of pace.
package socket
