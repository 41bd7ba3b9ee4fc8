// TEST_TIMEOUT_SEC=1200
// Reloads and kills while a new connection comes every millisecond, long flows go on and what is denied floods in: nothing denied
// passes, nobody is refused or has to send his SYN again, no flow is lost.
import t from 'tap'
import { runUnderLoad } from '../support/under-load.ts'
import { whyNoPrivateHost } from '../support/private-host.ts'

const why = whyNoPrivateHost()
const isFull = process.env['DERPANET_TEST_FULL'] === '1'

t.test('no packet is lost, refused or let in by a reload or by the daemon\'s death', { skip: why ?? false, timeout: 1_150_000 }, async (t) => {
  const figures = await runUnderLoad({ kind: 'derpanetd', reloads: isFull ? 200 : 12, kills: isFull ? 20 : 2 })
  t.comment(JSON.stringify(figures))
  t.equal(figures.deniedPassed, 0, `0 of ${figures.flood} denied packets passed`)
  t.equal(figures.refused, 0, `0 of ${figures.made} new connections refused`)
  t.strictSame([figures.synRetransmits, figures.delayed, figures.givenUp], [0, 0, 0], 'none was delayed by a retransmission')
  t.equal(figures.flows, 200)
  t.equal(figures.flowsLost, 0)
  // on a busy machine the client does not come to every millisecond; but it must be a load
  t.ok(figures.made > figures.seconds * 300, `${Math.round(figures.made / figures.seconds)} connections a second`)
})
