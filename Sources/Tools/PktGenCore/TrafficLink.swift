internal import Netmap

/// A port in use by a traffic loop.
///
/// For `-i null` the link also drives the other end.
final class Link {
  /// The result of a wait.
  enum Wakeup {
    case ready(Readiness)
    case timeout
    /// A signal handler ran, possibly with a request to stop.
    case interrupted
  }

  let port: NetmapPort
  /// The end of a pipe that takes every packet and always has more; nil for other ports.
  private let far: NetmapPort?

  init(_ port: NetmapPort, far: NetmapPort? = nil) {
    self.port = port
    self.far = far
  }

  /// A link for `-i null`: both ends of a pipe on a private engine.
  ///
  /// The near end receives copies of `frame`.
  static func null(frame: [UInt8]) throws(NetmapError) -> Link {
    let engine = try EmbeddedEngine()
    let near = try NetmapPort("netmap:null{0", engine: engine)
    let far = try NetmapPort("netmap:null}0", engine: engine)
    var ring = far.transmitRing(0)
    // Slots keep their buffers, and sending does not change the contents.
    for index in 0..<ring.slotCount {
      let slot = unsafe ring.unsafeRing.slot(UInt32(index)).pointee
      let target = unsafe ring.unsafeRing.buffer(slot.bufferIndex)
      unsafe frame.withUnsafeBytes { bytes in
        guard let source = bytes.baseAddress else { return }
        unsafe target.copyMemory(from: source, byteCount: min(bytes.count, far.bufferSize))
      }
    }
    while ring.append(length: min(frame.count, far.bufferSize)) {}
    try far.sync(.transmit)
    return Link(near, far: far)
  }

  /// Waits until the port is ready, as `NetmapPort.wait(for:timeout:)` does.
  func wait(for wanted: Readiness, timeout: Duration) throws(TrafficFailure) -> Wakeup {
    if far != nil {
      try sync(wanted.contains(.receive) ? .receive : .transmit)
      return .ready(wanted)
    }
    do throws(NetmapError) {
      let ready = try port.wait(for: wanted, timeout: timeout)
      return ready.isEmpty ? .timeout : .ready(ready)
    } catch {
      if error.code == .interrupted { return .interrupted }
      throw TrafficFailure(error)
    }
  }

  /// Syncs one direction of the port.
  func sync(_ direction: Direction) throws(TrafficFailure) {
    do throws(NetmapError) {
      try port.sync(direction)
      if let far { try serve(far, direction) }
    } catch {
      throw TrafficFailure(error)
    }
  }

  /// Drives the other end, and syncs again to see the result.
  private func serve(_ far: NetmapPort, _ direction: Direction) throws(NetmapError) {
    switch direction {
    case .transmit:
      try far.sync(.receive)
      var ring = far.receiveRing(0)
      ring.skip()
      try far.sync(.receive)
    case .receive:
      try far.sync(.transmit)
      var ring = far.transmitRing(0)
      // Every buffer holds the same frame, so only the length is needed.
      let length = unsafe ring.unsafeRing.slot(0).pointee.length
      while ring.append(length: Int(length)) {}
      try far.sync(.transmit)
    }
    try port.sync(direction)
  }
}
