// The fragment of the address names a file, and no server sees it: the form passes it on to the page that it leads to.
document.querySelector("form").action += location.hash;
