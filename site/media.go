package site

import "strings"

// types are the media types of the files of sites. The tables of machines differ, so that a site would depend on the
// host that serves it. Types are those of the registry of IANA, and of the standards of the web (WHATWG MIME Sniffing,
// HTML).
var types = map[string]string{
	".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml",
	".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".cjs": "text/javascript",
	".json": "application/json", ".map": "application/json", ".jsonld": "application/ld+json",
	".geojson": "application/geo+json", ".topojson": "application/json", ".webmanifest": "application/manifest+json",
	".wasm": "application/wasm", ".xml": "text/xml", ".xsl": "text/xsl", ".xslt": "application/xslt+xml",
	".rss": "application/rss+xml", ".atom": "application/atom+xml",
	".txt": "text/plain", ".text": "text/plain", ".log": "text/plain", ".md": "text/markdown", ".csv": "text/csv",
	".tsv": "text/tab-separated-values", ".ics": "text/calendar", ".vcf": "text/vcard", ".vtt": "text/vtt",
	".yaml": "application/yaml", ".yml": "application/yaml", ".toml": "application/toml",
	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif",
	".webp": "image/webp", ".avif": "image/avif", ".ico": "image/vnd.microsoft.icon", ".bmp": "image/bmp",
	".apng": "image/apng", ".jxl": "image/jxl", ".tif": "image/tiff", ".tiff": "image/tiff", ".heic": "image/heic",
	".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf", ".ttc": "font/collection",
	".eot": "application/vnd.ms-fontobject",
	".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg", ".mov": "video/quicktime",
	".mkv": "video/matroska", ".ts": "video/mp2t", ".m3u8": "application/vnd.apple.mpegurl",
	".mpd": "application/dash+xml", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".aac": "audio/aac", ".ogg": "audio/ogg",
	".oga": "audio/ogg", ".opus": "audio/ogg", ".wav": "audio/wav", ".flac": "audio/flac", ".weba": "audio/webm",
	".mid": "audio/midi",
	".pdf": "application/pdf", ".epub": "application/epub+zip", ".zip": "application/zip",
	".gz": "application/gzip", ".zst": "application/zstd", ".tar": "application/x-tar",
	".7z":  "application/x-7z-compressed",
	".bz2": "application/x-bzip2", ".xz": "application/x-xz", ".jar": "application/java-archive",
	".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".odt":  "application/vnd.oasis.opendocument.text", ".ods": "application/vnd.oasis.opendocument.spreadsheet",
	".odp": "application/vnd.oasis.opendocument.presentation", ".rtf": "application/rtf",
	".glb": "model/gltf-binary", ".gltf": "model/gltf+json", ".asc": "application/pgp-signature",
}

// unknownType is the media type of a file whose name tells none. Browsers offer to save it.
const unknownType = "application/octet-stream"

// TypeOf returns the media type of a file of the site by its name, with the charset of the site for text.
func (s *Site) TypeOf(name string) string {
	media := types[extension(name)]
	switch {
	case media == "":
		return unknownType
	case s.Charset != "" && strings.HasPrefix(media, "text/"):
		return media + "; charset=" + s.Charset
	}
	return media
}

// Plain returns a media type in lower case and without its parameters.
func Plain(media string) string {
	media, _, _ = strings.Cut(media, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// compressible reports whether files of a media type become much smaller. Pictures, fonts, sound and archives are
// compressed already.
func compressible(media string) bool {
	switch media {
	case "application/json", "application/wasm", "application/yaml", "application/toml", "application/javascript",
		"application/xml", "application/rtf", "application/vnd.ms-fontobject", "application/vnd.apple.mpegurl",
		"image/bmp", "image/vnd.microsoft.icon", "font/ttf", "font/otf", "font/collection", "model/gltf-binary":
		return true
	}
	return strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "+json") || strings.HasSuffix(media, "+xml")
}
