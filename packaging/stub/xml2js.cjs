// Stands in for xml2js in the bundles. dbus-next makes a builder and a parser for each connection and uses them only for
// introspection, which has its own text here (src/dbus/introspect.ts): 220 KB of XML library would be read at every start.
const refuse = () => { throw new Error('xml2js is not part of this program') }
exports.Builder = class Builder { buildObject() { return refuse() } }
exports.Parser = class Parser { parseString() { return refuse() } parseStringPromise() { return refuse() } }
