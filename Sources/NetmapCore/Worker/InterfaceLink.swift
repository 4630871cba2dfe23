internal import CLinux
internal import Glibc
internal import Synchronization

/// A network interface on a switch, as seen by the code that carries its packets: one lane per ring
/// pair.
///
/// May be used from any thread.
package final class InterfaceLink: Sendable {
  private let worker: Worker
  private let lanes: [InterfaceLane]
  private let numbers = Mutex<[UInt64]>([])
  private let threads = Mutex<[PollingThread]>([])
  /// Becomes readable when the link has ended.
  private let over: OwnedFile

  /// The two sides of one ring pair, on their way to the worker's thread.
  ///
  /// The code that made them does not touch them again.
  package struct Pair: @unchecked Sendable {
    let interface: MappedPort
    let port: MappedPort

    /// - Parameters:
    ///   - interface: The interface, with the rings of this pair only.
    ///   - port: The switch port, with the rings of this pair only.
    package init(interface: MappedPort, port: MappedPort) {
      self.interface = interface
      self.port = port
    }
  }

  /// - Parameters:
  ///   - pairs: One for each ring pair.
  ///   - worker: The worker that serves them.
  ///   - end: Called once, on the worker's thread, after the last use of the pairs: when the
  ///     interface was taken off the switch or has disappeared.
  /// - Throws: ``NetmapError`` when no descriptors are left.
  package init(
    _ pairs: [Pair], worker: Worker, end: @escaping @Sendable () -> Void
  ) throws(NetmapError) {
    let file = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
    guard file >= 0 else { throw systemError("eventfd", "worker") }
    let over = OwnedFile(file)
    let common = InterfaceLane.Common(lanes: pairs.count) {
      end()
      ringEventfd(over.descriptor)
    }
    self.over = over
    self.worker = worker
    lanes = pairs.map { InterfaceLane(interface: $0.interface, port: $0.port, common) }
  }

  /// Begins to carry packets.
  ///
  /// - Throws: ``NetmapError`` when no thread can be created; then nothing has begun.
  package func start() throws(NetmapError) {
    for lane in lanes {
      // The first lane starts the worker's thread; for the others nothing can fail.
      let number = try worker.serve(lane)
      numbers.withLock { $0.append(number) }
    }
  }

  /// Takes the interface off the switch.
  ///
  /// The link carries nothing new. It delivers the packets that were sent to the interface, and
  /// then ends.
  package func close() {
    for number in numbers.withLock({ $0 }) { worker.close(number) }
  }

  /// Blocks until the link has ended.
  package func waitUntilOver() {
    _ = isReady(over.descriptor, for: CInt(POLLIN), within: -1)
  }

  /// Starts polling mode: polling threads look at the rings all the time.
  ///
  /// - Throws: ``NetmapError``: `EINVAL` for CPUs that cannot be used, or another error when no
  ///   thread can be created; then nothing has changed.
  package func poll(on cpus: PollingCPUs) throws(NetmapError) {
    let plan = cpus.plan(lanes: lanes.count)
    for (cpu, _) in plan { try PollingThread.check(cpu: cpu) }
    var made: [PollingThread] = []
    do throws(NetmapError) {
      for (cpu, range) in plan {
        made.append(try PollingThread(Array(lanes[range]), cpu: cpu, worker: worker))
      }
    } catch {
      for thread in made { thread.stop() }
      throw error
    }
    threads.withLock { $0 = made }
  }

  /// Stops polling mode; the polling threads give all rings back to the worker.
  package func stopPolling() {
    let former = threads.withLock { threads in
      defer { threads = [] }
      return threads
    }
    for thread in former { thread.stop() }
  }
}
