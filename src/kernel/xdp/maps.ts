// The pinned maps of the XDP program: typed reads and writes, nothing about what they mean together (half.ts, xdp.ts).
// npm `bpf` for plain maps; per-CPU maps only through libbpf.ts, because the package allocates too little for them.
import { layout, records } from '../../compile/xdp/layout.ts'
import type { LibBpf } from './libbpf.ts'
import type { MapRef, RawArrayMap, RawMap } from 'bpf'

/** BPF_F_INNER_MAP (Linux 5.10): inner arrays of one outer map may differ in size. */
const innerMapFlag = 1 << 12

/** An array of pages that dp_pages can point to. */
export interface PageMap {
  readonly pages: number
  write(page: number, bytes: Uint8Array): void
  /** The kernel keeps it as long as an outer slot points to it. */
  close(): void
}

export interface LinkRow {
  readonly flags: number
  readonly zone: number
}

export interface XdpMaps {
  readControl(index: number): number
  /** One aligned 32-bit store as far as packets can tell. */
  writeControl(index: number, value: number): void
  writeTable(index: number, record: Uint8Array): void
  createPages(pages: number): PageMap
  /** Waits until no packet uses what the slot held before (one RCU grace period). */
  setPages(index: number, pages: PageMap | null): void
  /** Waits one grace period and changes nothing. */
  waitForPackets(): void
  /** dp_class × CLASSES of a half. */
  writeClasses(half: 0 | 1, classes: Uint8Array): void
  writeFailsafe(half: 0 | 1, record: Uint8Array): void
  links(): ReadonlyMap<number, LinkRow>
  setLink(ifindex: number, row: LinkRow): void
  removeLink(ifindex: number): void
  readRule(slot: number): Uint8Array
  writeRule(slot: number, record: Uint8Array): void
  /** Sum over all CPUs. */
  readCounter(slot: number): { readonly packets: bigint; readonly bytes: bigint }
  zeroCounter(slot: number): void
  readonly eventsFd: number
  close(): void
}

/** `dir` is the version directory that the loader named. Throws when a pin is missing or a map has another shape. */
export async function openMaps(dir: string, libbpf: LibBpf): Promise<XdpMaps> {
  const bpf = await import('bpf')
  const refs: MapRef[] = []
  const fds: number[] = []
  const ref = (name: string, valueBytes: number): MapRef => {
    const opened = bpf.createMapRef(bpf.objGet(`${dir}/maps/${name}`), { transfer: true })
    refs.push(opened)
    if (opened.valueSize !== valueBytes) throw new Error(`${name} has values of ${opened.valueSize} bytes, not ${valueBytes}: another layout`)
    return opened
  }
  const array = (name: string, valueBytes: number): RawArrayMap => new bpf.RawArrayMap(ref(name, valueBytes))
  const pin = (name: string): number => {
    const fd = libbpf.openPin(`${dir}/maps/${name}`)
    fds.push(fd)
    return fd
  }
  const closeAll = (): void => {
    for (const opened of refs.splice(0)) opened.close()
    for (const fd of fds.splice(0)) libbpf.closePin(fd)
  }

  try {
    const control = array('dp_control', 4)
    const tables = array('dp_tables', records.dp_table.size)
    const outer = new bpf.RawMap(ref('dp_pages', 4))
    const classes = array('dp_classes', records.dp_class.size)
    const failsafe = array('dp_failsafe', records.dp_failsafe.size)
    const links = new bpf.RawMap(ref('dp_links', records.dp_link.size))
    const rules = array('dp_rules', records.dp_rule.size)
    const counters = pin('dp_counters')
    const eventsFd = pin('dp_events')
    let barrier: OwnPages | null = null
    // classes whose record is known to be in the map: 1024 writes at the first time, a handful later
    const written: [Uint8Array | null, Uint8Array | null] = [null, null]

    return {
      readControl: (index) => control.get(index).readUInt32LE(),
      writeControl: (index, value) => void control.set(index, u32(value)),
      writeTable: (index, record) => void tables.set(index, buffer(record)),
      createPages: (pages) => createPages(bpf, pages),
      setPages(index, pages) {
        if (pages === null) removeKey(outer, index)
        else outer.set(u32(index), u32((pages as OwnPages).fd))
      },
      waitForPackets() {
        // an update of an outer map waits for packets, a delete of what is not there does not (seen on 6.18)
        barrier ??= createPages(bpf, 1)
        outer.set(u32(layout.PAGES_BARRIER), u32(barrier.fd))
      },
      writeClasses(half, records_) {
        const before = written[half]
        const size = records.dp_class.size
        for (let index = 0; index < layout.CLASSES; index++) {
          const record = buffer(records_.subarray(index * size, (index + 1) * size))
          if (before === null || !record.equals(before.subarray(index * size, (index + 1) * size))) classes.set(half * layout.CLASSES + index, record)
        }
        written[half] = records_
      },
      writeFailsafe: (half, record) => void failsafe.set(half, buffer(record)),
      links: () => new Map([...links.entries()].map(([key, row]) => [key.readUInt32LE(), { flags: row.readUInt32LE(0), zone: row.readUInt32LE(4) }])),
      setLink: (ifindex, { flags, zone }) => void links.set(u32(ifindex), Buffer.concat([u32(flags), u32(zone)])),
      removeLink: (ifindex) => removeKey(links, ifindex),
      readRule: (slot) => rules.get(slot),
      writeRule: (slot, record) => void rules.set(slot, buffer(record)),
      readCounter: (slot) => sumCounter(libbpf.lookupPerCpu(counters, slot, records.dp_counter.size)),
      zeroCounter: (slot) => libbpf.zeroPerCpu(counters, slot, records.dp_counter.size),
      eventsFd,
      close() {
        barrier?.close()
        closeAll()
      },
    }
  } catch (error) {
    closeAll()
    throw error
  }
}

interface OwnPages extends PageMap {
  readonly fd: number
}

function createPages(bpf: typeof import('bpf'), pages: number): OwnPages {
  const ref = bpf.createMap({
    type: bpf.MapType.ARRAY, keySize: 4, valueSize: layout.PAGE_BYTES, maxEntries: pages, flags: innerMapFlag, name: 'dp_page_array',
  })
  const map = new bpf.RawArrayMap(ref)
  return { pages, fd: ref.fd, write: (page, bytes) => void map.set(page, buffer(bytes)), close: () => ref.close() }
}

/** A key that is not there is as good as removed. */
function removeKey(map: RawMap, key: number): void {
  map.delete(u32(key))
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value >>> 0)
  return bytes
}

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function sumCounter(values: Uint8Array): { packets: bigint; bytes: bigint } {
  const words = new BigUint64Array(values.buffer, values.byteOffset, values.length / 8)
  let packets = 0n
  let bytes = 0n
  for (let at = 0; at < words.length; at += 2) {
    packets += words[at]!
    bytes += words[at + 1]!
  }
  return { packets, bytes }
}
