import { visible } from '../model/format.mjs'
import { mayBeCut } from '../model/locks.mjs'

/** The name of a resource: any text at all, so it stands by itself whatever direction it is written in. */
export function Name({ name }) {
  return (
    <bdi class="name" title={visible(name)}>
      {visible(name)}
      {mayBeCut(name) && '…'}
    </bdi>
  )
}
