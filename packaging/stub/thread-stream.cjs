// Stands in for thread-stream in the bundles: pino needs it for transports in worker threads, which nothing here uses.
module.exports = class ThreadStream { constructor() { throw new Error('thread-stream is not part of this program') } }
