// Parsing lists without holding up the main loop: small ones in place, big ones in a worker thread, and in slices where
// no worker can be started.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { ListJob } from './list-worker.ts'
import { ListScanner, parseList } from './parse.ts'
import type { ParsedList } from './parse.ts'

/** Below that (about 50,000 lines, 30 ms) a thread costs more than it saves. */
export const workerFromBytes = 700_000
const sliceBytes = 256 * 1024

/** dist/list-worker.js beside the bundle, list-worker.ts beside this file when run from source; null where neither is. */
function workerFile(): URL | null {
  const url = new URL(import.meta.url.endsWith('.ts') ? './list-worker.ts' : './list-worker.js', import.meta.url)
  return existsSync(fileURLToPath(url)) ? url : null
}

async function parseInSlices(name: string, file: string, bytes: Uint8Array): Promise<ParsedList> {
  const scanner = new ListScanner(name, file, bytes)
  for (let at = 0; at < bytes.length;) {
    at = scanner.scan(at, Math.min(bytes.length, at + sliceBytes))
    await new Promise((resolve) => setImmediate(resolve))
  }
  return scanner.finish()
}

/** A worker does not inherit the loader that lets tests and tools run the sources; it has to register it itself. */
function fromSource(url: URL): string {
  const loader = new URL('./dist/esm/api/index.mjs', pathToFileURL(createRequire(url).resolve('tsx/package.json'))).href
  return `import(${JSON.stringify(loader)}).then((tsx) => { tsx.register(); return import(${JSON.stringify(url.href)}) })`
}

/**
 * Parses lists one after the other. Keeps one worker from the first big list until close(). `bytes` must own its whole
 * buffer and is gone after a call that used the worker.
 */
export class ListBuilder {
  private worker: Worker | null = null
  private waiting = new Map<number, { readonly resolve: (parsed: ParsedList) => void; readonly reject: (error: Error) => void }>()
  private jobs = 0

  /** `url` null = never a worker. */
  constructor(private readonly url: URL | null = workerFile()) {}

  async parse(name: string, file: string, bytes: Uint8Array): Promise<ParsedList> {
    if (bytes.length < workerFromBytes) return parseList(name, file, bytes)
    const worker = this.worker ?? this.start()
    if (worker === null) return parseInSlices(name, file, bytes)
    const id = ++this.jobs
    const answer = new Promise<ParsedList>((resolve, reject) => this.waiting.set(id, { resolve, reject }))
    worker.postMessage({ id, name, file, bytes } satisfies ListJob, [bytes.buffer as ArrayBuffer])
    return answer
  }

  private start(): Worker | null {
    if (this.url === null) return null
    const worker = this.url.pathname.endsWith('.ts') ? new Worker(fromSource(this.url), { eval: true }) : new Worker(this.url)
    worker.unref()
    worker.on('message', ({ id, ...parsed }: ParsedList & { readonly id: number }) => {
      this.waiting.get(id)?.resolve(parsed)
      this.waiting.delete(id)
    })
    const fail = (error: Error): void => {
      this.worker = null
      for (const { reject } of this.waiting.values()) reject(error)
      this.waiting.clear()
    }
    worker.on('error', fail)
    worker.on('exit', () => fail(new Error('the list worker ended')))
    this.worker = worker
    return worker
  }

  /** Ends the worker; lists still being parsed are rejected. */
  async close(): Promise<void> {
    const worker = this.worker
    this.worker = null
    await worker?.terminate()
  }
}
