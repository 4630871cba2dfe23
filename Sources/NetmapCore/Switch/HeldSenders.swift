internal import Synchronization

extension AttachedRing {
  /// Wakes the senders that sleep until this receive ring has room. What has been given back is published.
  ///
  /// A sender that finds no room, and is about to sleep, says so in the ring's kring, issues a full fence,
  /// and looks again; this side publishes, issues a full fence, and looks whether anybody has. A sender that
  /// has died since costs one look at its place.
  @inline(never)
  func wakeHeldSenders(_ path: UnsafePointer<SwitchPath>) {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    for part in 0..<BridgeLayout.activeWords {
      var ports = unsafe kring.takeHeldSenders(part)
      while ports != 0 {
        unsafe wakeSleepers(on: part * 64 + ports.trailingZeroBitCount, path)
        ports &= ports - 1
      }
    }
  }

  /// Wakes whoever sleeps until a transmit ring of another port makes progress.
  private func wakeSleepers(on port: Int, _ path: UnsafePointer<SwitchPath>) {
    let generation = unsafe path.pointee.bridge.generation(of: port)
    guard generation != 0,
      let sender = unsafe findDestination(
        path.pointee.cells, port, generation, path.pointee.resolver)
    else { return }
    for index in unsafe 0..<Int(sender.pointee.transmitRings) {
      let kring = unsafe KRing(base: sender.pointee.transmitKRings + index * KRingLayout.byteCount)
      guard unsafe kring.outboxWaitWordIsSet else { continue }
      unsafe self.kring.count(.systemCalls)
      unsafe kring.outboxWaitWord(sender.pointee.waiters).wake(doorbells)
    }
  }
}

extension AttachedRing {
  /// Whether a switch port's transmit ring has packets that wait for their receiver's room.
  var isHeldUp: Bool { unsafe kind == .bridge && kring.hasUnsent }
}

extension Engine {
  /// Wakes every sender that sleeps until a port of a switch has room: it may have left.
  ///
  /// For an engine whose clients are all in this process: only then are their doorbells its own.
  package func wakeHeldSenders() {
    let segments = try? exclusively { (state) throws(NetmapError) in
      state.bridges.values.flatMap { $0.members.values.map(\.port.segment) }
    }
    for segment in segments ?? [] {
      let krings = unsafe Bridge.senders(segment)
      let count = unsafe krings.count
      for index in 0..<count where unsafe krings[index].outboxWaitWordIsSet {
        unsafe krings[index].outboxWaitWord(segment.waiters).wake(doorbells.view)
      }
    }
  }
}
