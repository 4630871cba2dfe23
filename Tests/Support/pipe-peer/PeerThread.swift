internal import Glibc
package import NetmapCore
internal import Synchronization

/// One end of a pipe, driven by a thread of this process through separate mappings.
package final class PeerThread: Sendable {
  private let traffic: Mutex<Result<PeerSummary, NetmapError>?> = Mutex(nil)
  private nonisolated(unsafe) var thread = pthread_t()

  /// - Throws: ``NetmapError`` when the descriptors do not describe such an end.
  package init(
    _ job: PeerJob, _ place: PeerPlace, engine: Engine, registration: Registration
  ) throws(NetmapError) {
    let traffic = try PeerTraffic(
      region: registration.region.descriptor, segment: registration.segment.memory.descriptor,
      directory: engine.directory.memory.descriptor, place: place, job: job)
    let work = Work(traffic: traffic, owner: self)
    let context = unsafe Unmanaged.passRetained(work).toOpaque()
    let code = unsafe pthread_create(
      &thread, nil,
      { context in
        guard let context = unsafe context else { return nil }
        let work = unsafe Unmanaged<Work>.fromOpaque(context).takeRetainedValue()
        let result = Result { () throws(NetmapError) in try work.traffic.run() }
        work.owner.traffic.withLock { $0 = result }
        return nil
      }, context)
    precondition(code == 0, "no thread could be made")
  }

  private final class Work {
    let traffic: PeerTraffic
    let owner: PeerThread

    init(traffic: PeerTraffic, owner: PeerThread) {
      self.traffic = traffic
      self.owner = owner
    }
  }

  /// Waits for the thread to end.
  ///
  /// - Returns: The result of its end.
  /// - Throws: ``NetmapError`` when its end failed.
  package func join() throws(NetmapError) -> PeerSummary {
    unsafe pthread_join(thread, nil)
    guard let result = traffic.withLock({ $0 }) else { preconditionFailure("nothing was done") }
    return try result.get()
  }
}
