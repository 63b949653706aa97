import { bound, count, counted, duration, rate } from '../model/format.mjs'
import { barsOf, classOfShare, recently, totalOf, waitsOf } from '../model/rates.mjs'
import { SPAN } from '../model/state.mjs'
import { Bars, Histogram, Level } from './charts.jsx'
import { Name } from './name.jsx'

/** The numbers of all clients, from the listings; and below, of the calls of the process that the page is in. */
export function Summary({ state, locks, clients }) {
  const { history, now, isListed } = state
  const held = locks.reduce((sum, { holders }) => sum + holders.length, 0)
  const pending = locks.reduce((sum, { waiters }) => sum + waiters.length, 0)
  const waited = locks.filter(({ waitedFor }) => waitedFor !== undefined)
  const longest = waited.reduce((a, b) => (a?.waitedFor <= b.waitedFor ? a : b), undefined)
  const level = (kind) => history.map((seen) => ({ at: seen.at, value: seen[kind] }))
  const told = (text) => (isListed ? text : '–')
  return (
    <div class="summary">
      <section class="group" aria-labelledby="everybody">
        <h2 id="everybody">All clients under the prefix</h2>
        <Card title="Held" value={told(count(held))} detail="last 5 minutes">
          <Level
            points={level('held')}
            now={now}
            span={SPAN}
            kind="held"
            format={count}
            label={`${held} held`}
          />
        </Card>
        <Card
          title="Waiting"
          value={told(count(pending))}
          kind={pending > 0 ? 'warn' : ''}
          detail={`for ${counted(waited.length, 'lock')}`}
        >
          <Level
            points={level('pending')}
            now={now}
            span={SPAN}
            kind="waiting"
            format={count}
            label={`${pending} wait`}
          />
        </Card>
        <Card
          title="Longest wait"
          value={longest ? duration(now - longest.waitedFor) : '–'}
          detail={longest && <Name name={longest.name} />}
        />
        <Card
          title="Clients"
          value={told(count(clients.length))}
          detail={counted(new Set(clients.map(({ host }) => host)).size, 'host')}
        />
      </section>
      {state.process && <Process state={state} />}
    </div>
  )
}

function Card({ title, value, kind = '', detail, children }) {
  return (
    <div class={`card ${kind}`}>
      <h3>{title}</h3>
      <p class="value">{value}</p>
      {children}
      <p class="detail">{detail}</p>
    </div>
  )
}

function Process({ state: { process, rates, now } }) {
  const perSecond = (number) => `${rate(number)} /s`
  const bars = (kind, name, label) => (
    <Bars points={barsOf(rates, kind, now)} kind={name} format={perSecond} label={label} />
  )
  const [granted, refused, lost] = ['grants', 'refusals', 'losses'].map((kind) => totalOf(rates, kind))
  return (
    <section class="group process" aria-labelledby="process">
      <h2 id="process">
        Calls of this process only
        <span class="who">
          {process.host} · {process.pid}
        </span>
      </h2>
      <Card
        title="Grants"
        value={perSecond(recently(rates, 'grants', now))}
        detail={`${count(granted)} in 5 minutes`}
      >
        {bars('grants', 'grants', `${granted} grants in the last 5 minutes`)}
      </Card>
      <Card
        title="Refusals"
        value={perSecond(recently(rates, 'refusals', now))}
        detail={`${count(refused)} in 5 minutes`}
      >
        {bars('refusals', 'refusals', `${refused} refusals in the last 5 minutes`)}
      </Card>
      <Card title="Losses" value={count(lost)} kind={lost > 0 ? 'bad' : ''} detail="in 5 minutes">
        {bars('losses', 'losses', `${lost} losses in the last 5 minutes`)}
      </Card>
      <Waits rates={rates} bounds={process.bounds} />
    </section>
  )
}

/** How long it took until a call had its lock. */
function Waits({ rates, bounds }) {
  const waits = waitsOf(rates, bounds.length + 1)
  const within = (share) => {
    const place = classOfShare(waits, share)
    if (place < 0) return '–'
    return place < bounds.length ? `< ${bound(bounds[place])}` : `> ${bound(bounds.at(-1))}`
  }
  const titles = waits.map((number, index) => {
    const range = index < bounds.length ? `under ${bound(bounds[index])}` : `${bound(bounds.at(-1))} and more`
    return `${counted(number, 'grant')} ${range}${index > 0 && index < bounds.length ? `, ${bound(bounds[index - 1])} and more` : ''}`
  })
  const [half, most] = [within(0.5), within(0.99)]
  return (
    <Card title="Time to the grant" value={half} detail={`half; 99 % ${most}`}>
      <Histogram
        values={waits}
        titles={titles}
        label={`Time from the call to the grant: half ${half}, 99 % ${most}`}
      />
    </Card>
  )
}
