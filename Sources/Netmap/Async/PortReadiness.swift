public import NetmapCore

/// The moments at which a port is ready, as an asynchronous sequence.
///
/// ```swift
/// for try await _ in port.readiness {
///   var ring = port.receiveRing(0)
///   while let packet = ring.next() { handle(packet) }
/// }
/// ```
///
/// Each iteration syncs the port first, so slots that the loop has taken or filled return to the engine. An iteration
/// in which the loop takes nothing is followed by another one at once, as with poll(2). The sequence ends when the
/// task is canceled. It throws ``NetmapError`` as `NetmapPort.wait(for:timeout:)` does.
public struct PortReadiness: AsyncSequence {
  public typealias Element = Readiness
  public typealias Failure = NetmapError

  let port: NetmapPort
  let wanted: Readiness

  public func makeAsyncIterator() -> Iterator { Iterator(port: port, wanted: wanted) }

  public struct Iterator: AsyncIteratorProtocol {
    let port: NetmapPort
    let wanted: Readiness

    public mutating func next(
      isolation actor: isolated (any Actor)?
    ) async throws(NetmapError) -> Readiness? {
      try await port.waitUnlessCanceled(wanted, timeout: nil, isolation: actor)
    }

    public mutating func next() async throws(NetmapError) -> Readiness? {
      try await next(isolation: nil)
    }
  }
}
