// The worker thread's side of build.ts: one list a message, packed arrays back without copying.
import { parentPort } from 'node:worker_threads'
import { parseList } from './parse.ts'

/** What build.ts sends. */
export interface ListJob {
  readonly id: number
  readonly name: string
  readonly file: string
  readonly bytes: Uint8Array
}

parentPort?.on('message', ({ id, name, file, bytes }: ListJob) => {
  const { list, diagnostics } = parseList(name, file, bytes)
  const buffers = list === null ? [] : [list.addrs4.buffer, list.lengths4.buffer, list.addrs6.buffer, list.lengths6.buffer]
  parentPort?.postMessage({ id, list, diagnostics }, buffers as ArrayBuffer[])
})
