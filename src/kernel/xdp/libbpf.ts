// The few calls of libbpf that the npm package cannot make: per-CPU reads, the ring buffer, BPF_PROG_TEST_RUN.
// Loaded when first needed; a host without libbpf.so.1 has no XDP, and everything else works.
import { closeSync } from 'node:fs'

/** One BPF_PROG_TEST_RUN. `input` = what the program sees from its metadata on; `metaBytes` of it are metadata. */
export interface TestRun {
  readonly input: Uint8Array
  readonly metaBytes: number
  /** 0 = the loopback device of this network namespace. Others need a registered receive queue (native XDP attached). */
  readonly ifindex: number
  readonly repeat: number
}

export interface TestRunResult {
  /** XDP_DROP = 1, XDP_PASS = 2. */
  readonly verdict: number
  /** Metadata and frame after the run. */
  readonly output: Uint8Array
  /** Average of one run, as the kernel measured it. */
  readonly elapsedNs: number
}

export interface RingReader {
  /** Calls back with a copy of each record that is there; never waits. Returns how many. */
  consume(): number
  close(): void
}

export interface LibBpf {
  /** Opens a pin. Throws an Error naming the path. The caller closes. */
  openPin(path: string): number
  closePin(fd: number): void
  /** The values of all CPUs of one element of a per-CPU array, `valueBytes` (a multiple of 8) each. */
  lookupPerCpu(mapFd: number, key: number, valueBytes: number): Uint8Array
  /** Writes zero on every CPU. */
  zeroPerCpu(mapFd: number, key: number, valueBytes: number): void
  openRing(mapFd: number, onRecord: (record: Uint8Array) => void): RingReader
  /** The interface that a pinned link is attached to; 0 = none any more, null = no such pin. */
  linkIfindex(path: string): number | null
  testRun(progFd: number, run: TestRun): TestRunResult
}

const xdpMdBytes = 24
/** struct bpf_link_info: type, id, prog_id, and, behind padding, ifindex of an XDP link. */
const linkInfoBytes = 64
const linkInfoIfindexAt = 16
/** Frames of the test runner live in one page with head- and tailroom. */
const outputBytes = 4096

let loading: Promise<LibBpf> | null = null

/** Rejects with an Error when libbpf.so.1 is not installed. */
export function loadLibBpf(): Promise<LibBpf> {
  loading ??= load()
  return loading
}

async function load(): Promise<LibBpf> {
  const { default: koffi } = await import('koffi')
  const lib = koffi.load('libbpf.so.1')
  const runOpts = koffi.struct({
    sz: 'size_t', data_in: 'void *', data_out: 'void *', data_size_in: 'uint32_t', data_size_out: 'uint32_t', ctx_in: 'void *', ctx_out: 'void *',
    ctx_size_in: 'uint32_t', ctx_size_out: 'uint32_t', retval: 'uint32_t', repeat: 'int', duration: 'uint32_t', flags: 'uint32_t', cpu: 'uint32_t',
    batch_size: 'uint32_t',
  })
  const onSample = koffi.proto('int (void *ctx, void *data, size_t size)')
  const objGet = lib.func('int bpf_obj_get(const char *path)') as (path: string) => number
  const lookup = lib.func('int bpf_map_lookup_elem(int fd, const void *key, void *value)') as (fd: number, key: Uint8Array, value: Uint8Array) => number
  const update = lib.func('int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags)') as
    (fd: number, key: Uint8Array, value: Uint8Array, flags: number) => number
  const cpus = (lib.func('int libbpf_num_possible_cpus()') as () => number)()
  const ringNew = lib.func('ring_buffer__new', 'void *', ['int', koffi.pointer(onSample), 'void *', 'void *']) as
    (fd: number, callback: unknown, ctx: null, opts: null) => unknown
  const ringConsume = lib.func('int ring_buffer__consume(void *ring)') as (ring: unknown) => number
  const ringFree = lib.func('void ring_buffer__free(void *ring)') as (ring: unknown) => void
  const objInfo = lib.func('int bpf_obj_get_info_by_fd(int fd, _Inout_ void *info, _Inout_ uint32_t *length)') as (fd: number, info: Uint8Array, length: Uint32Array) => number
  const progTestRun = lib.func('bpf_prog_test_run_opts', 'int', ['int', koffi.inout(koffi.pointer(runOpts))]) as
    (fd: number, opts: Record<string, unknown>) => number

  const keyOf = (key: number): Uint8Array => new Uint8Array(Uint32Array.of(key).buffer)
  const check = (rc: number, action: string): number => {
    if (rc < 0) throw new Error(`${action}: error ${-rc}`)
    return rc
  }
  const output = new Uint8Array(outputBytes)

  return {
    openPin: (path) => check(objGet(path), `open ${path}`),
    closePin: (fd) => closeSync(fd),
    lookupPerCpu(mapFd, key, valueBytes) {
      const values = new Uint8Array(valueBytes * cpus)
      check(lookup(mapFd, keyOf(key), values), 'read a per-CPU element')
      return values
    },
    zeroPerCpu(mapFd, key, valueBytes) {
      check(update(mapFd, keyOf(key), new Uint8Array(valueBytes * cpus), 0), 'zero a per-CPU element')
    },
    openRing(mapFd, onRecord) {
      const callback = koffi.register((_ctx: unknown, at: unknown, sizeBytes: number | bigint) => {
        onRecord(Uint8Array.from(koffi.decode(at, 'uint8_t', Number(sizeBytes)) as Uint8Array))
        return 0
      }, koffi.pointer(onSample))
      const ring = ringNew(mapFd, callback, null, null)
      if (ring === null) {
        koffi.unregister(callback)
        throw new Error('ring buffer cannot be opened')
      }
      return {
        consume: () => check(ringConsume(ring), 'read the ring buffer'),
        close() {
          ringFree(ring)
          koffi.unregister(callback)
        },
      }
    },
    linkIfindex(path) {
      const fd = objGet(path)
      if (fd < 0) return null
      try {
        const info = Buffer.alloc(linkInfoBytes)
        check(objInfo(fd, info, Uint32Array.of(linkInfoBytes)), `look at ${path}`)
        return info.readUInt32LE(linkInfoIfindexAt)
      } finally {
        closeSync(fd)
      }
    },
    testRun(progFd, { input, metaBytes, ifindex, repeat }) {
      const ctx = new Uint32Array(xdpMdBytes / 4)
      ctx.set([metaBytes, input.length, 0, ifindex, 0, 0])
      const opts: Record<string, unknown> = {
        sz: koffi.sizeof(runOpts), data_in: input, data_out: output, data_size_in: input.length, data_size_out: output.length,
        ctx_in: ctx, ctx_out: null, ctx_size_in: xdpMdBytes, ctx_size_out: 0, retval: 0, repeat, duration: 0, flags: 0, cpu: 0, batch_size: 0,
      }
      check(progTestRun(progFd, opts), 'BPF_PROG_TEST_RUN')
      return { verdict: Number(opts['retval']), output: output.slice(0, Number(opts['data_size_out'])), elapsedNs: Number(opts['duration']) }
    },
  }
}
