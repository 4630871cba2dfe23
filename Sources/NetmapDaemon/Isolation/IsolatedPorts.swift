internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// The books of isolated ports. A process has the pair's one end; the worker has the other end, and the port
// that the process asked for.

extension Server {
  /// What a stranger rings to wake the worker: the worker's own doorbell is for those who are trusted.
  func bell(of other: Client, for client: Client) -> OwnedFile? {
    guard client.isStranger, other.tag == isolation.tag else { return nil }
    if client.workerBell == nil { client.workerBell = isolation.makeBell() }
    return client.workerBell
  }

  /// Enters an isolated port that has been opened, and has the worker serve it.
  func book(
    _ opened: Isolation.Opened, _ request: Request
  ) throws(NetmapError) -> Reply {
    let service = opened.service
    let (inside, worker) = (opened.inside, opened.pair.worker)
    let end: @Sendable () -> Void = { [control] in
      service.connection.forget(inside.registration)
      inside.token.close()
      control.answer(0, .linkEnded(worker.id))
    }
    let own = OpenBinding(
      worker, in: nil, process: getpid(), tokenKey: 0, viewer: service.connection.tag)
    own.isHidden = true
    own.outside = opened.pair.client.id
    bindings[worker.id] = own
    clients[service.connection.tag.slot]?.seen.insert(worker.id)
    do throws(NetmapError) {
      let reply = try book(
        ControlThread.Bound(registration: opened.pair.client, attachment: nil), request)
      let outside = unsafe try service.connection.attach(worker)
      let link = WorkerLink(inside: opened.attached, outside: outside, end: end)
      bindings[opened.pair.client.id]?.link = (
        try service.worker.add(link), service.worker, inside.registration.id
      )
      bindings[opened.pair.client.id]?.isCarried = true
      return reply
    } catch {
      end()
      throw error
    }
  }

  /// The worker has done with its end.
  func endLink(_ id: BindingID) {
    guard let binding = bindings[id], let tag = isolation.tag else { return }
    binding.isOpen = false
    control.put(.release(id, keepsViews: false, nil))
    forget(id, by: tag)
    guard let outside = binding.outside, let port = bindings[outside] else { return }
    port.isCarried = false
    dropIfUnseen(port)
  }
}
