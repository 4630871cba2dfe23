internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore

// The server's records of isolated ports. The process has one end of a pipe. The worker has the
// other end, and the port that the process asked for.

extension Server {
  /// Records that a process has an isolated port open: the worker can wake the process there, and
  /// an untrusted process can wake the worker.
  func admit(_ client: Client, to binding: OpenBinding) {
    guard let bells = binding.bells, let worker = binding.link?.worker else { return }
    bells.admit(client.bell)
    guard client.isUntrusted, !client.wakesWorker else { return worker.wake() }
    client.wakesWorker = true
    worker.watch(client.bell)
  }

  /// Records that a process no longer has an isolated port open.
  func expel(_ tag: ClientTag, from binding: OpenBinding) {
    guard let bells = binding.bells else { return }
    bells.expel(tag.doorbell)
    binding.link?.worker.wake()
  }

  /// Records an isolated port that has been opened, and has the worker serve it.
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
        ControlThread.Bound(registration: opened.pair.client, recipe: nil), request)
      // The worker rings doorbells that the process names in wait words. This table limits these to
      // the processes that have the port open.
      let bells = try DoorbellTable.ofIsolatedPort()
      let outside = unsafe try service.connection.mapPort(worker, waking: bells)
      let link = WorkerLink(inside: opened.mapped, outside: outside, bells: bells, end: end)
      if let binding = bindings[opened.pair.client.id] {
        binding.link = (try service.worker.add(link), service.worker, inside.registration.id)
        binding.isCarried = true
        binding.bells = bells
        if let client = clients[request.client.slot], client.tag == request.client {
          admit(client, to: binding)
        }
      }
      return reply
    } catch {
      end()
      throw error
    }
  }

  /// Ends the worker's end of an isolated port once the worker no longer uses it.
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
