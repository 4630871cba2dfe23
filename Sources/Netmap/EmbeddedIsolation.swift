internal import Glibc
internal import NetmapCore

extension Engine {
  /// Opens an isolated port: its rings lie in a separate region, and the engine's worker moves packets between
  /// that region and the requested port.
  func openIsolated(_ request: RegisterRequest) throws(NetmapError) -> PortBinding {
    let inside = try register(try request.insideRequest())
    var undo: [() -> Void] = [{ [self] in release(inside.id) }]
    do throws(NetmapError) {
      let pair = try registerIsolated(request, like: inside)
      undo.append { [self] in
        release(pair.client.id)
        release(pair.worker.id)
      }
      let workerTag = try addClient(process: getpid())
      undo.append { [self] in removeClient(workerTag) }
      let tag = try addClient(process: getpid())
      undo.append { [self] in removeClient(tag) }
      let link = WorkerLink(
        inside: try mapPort(inside, tag: workerTag),
        outside: try mapPort(pair.worker, tag: workerTag)
      ) { [self] in
        release(inside.id)
        release(pair.worker.id)
        removeClient(workerTag)
        if inside.place != nil { wakeHeldSenders() }
      }
      let mapped = try mapPort(pair.client, tag: tag)
      let worker = try worker()
      let number = try worker.add(link)
      return PortBinding(
        pair.client, mapped, doorbells,
        end: { [self] keepsViews in
          release(pair.client.id, keepsViews: keepsViews)
          removeClient(tag)
          worker.close(number)
        }, forget: { [self] in forget(pair.client.id) })
    } catch {
      for step in undo.reversed() { step() }
      throw error
    }
  }
}
