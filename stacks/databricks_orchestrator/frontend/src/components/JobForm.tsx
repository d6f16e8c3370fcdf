import { useState } from 'react'
import type { FormEvent } from 'react'

const FIELD =
  'w-full rounded-lg border border-slate-300 px-3 py-2 text-sm shadow-sm outline-none focus:border-indigo-500 focus:ring-2 focus:ring-indigo-200'

interface Props {
  onCreate: (name: string, description: string) => Promise<boolean>
}

export default function JobForm({ onCreate }: Props) {
  const [name, setName] = useState('')
  const [description, setDescription] = useState('')
  const [busy, setBusy] = useState(false)

  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    const created = await onCreate(name, description)
    setBusy(false)
    if (created) {
      setName('')
      setDescription('')
    }
  }

  return (
    <form data-testid="job-form" onSubmit={submit} className="space-y-3 border-b border-slate-100 p-5">
      <input
        data-testid="job-name"
        aria-label="Name"
        className={FIELD}
        placeholder="Name of a new job"
        maxLength={100}
        required
        value={name}
        onChange={(event) => setName(event.target.value)}
      />
      <div className="flex gap-3">
        <input
          data-testid="job-description"
          aria-label="Description"
          className={FIELD}
          placeholder="What it does"
          maxLength={500}
          value={description}
          onChange={(event) => setDescription(event.target.value)}
        />
        <button
          data-testid="job-create"
          type="submit"
          disabled={busy || name.trim() === ''}
          className="shrink-0 rounded-lg bg-indigo-600 px-4 py-2 text-sm font-medium text-white shadow-sm hover:bg-indigo-500 disabled:opacity-40"
        >
          Create job
        </button>
      </div>
    </form>
  )
}
