"""The web page as browsers load it: HTML, CSS, and JavaScript modules; no build step, nothing from elsewhere."""
