internal import Synchronization

extension MappedRing {
  /// Wakes the senders that sleep until this receive ring has room.
  ///
  /// The caller has published the slots that it gives back. A sender that finds no room and is
  /// about to sleep sets a bit in the ring's kring, issues a full fence, and looks for room again.
  /// The receiver publishes its slots, issues a full fence, and looks for such bits. The bit of a
  /// sender that has died costs one lookup.
  @inline(never)
  func wakeHeldSenders(_ path: UnsafePointer<SwitchPath>) {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    for part in 0..<SwitchLayout.activeWords {
      var ports = unsafe kring.takeHeldSenders(part)
      while ports != 0 {
        unsafe wakeSleepers(on: part * 64 + ports.trailingZeroBitCount, path)
        ports &= ports - 1
      }
    }
  }

  /// Wakes the threads that sleep until a transmit ring of another port makes progress.
  private func wakeSleepers(on port: Int, _ path: UnsafePointer<SwitchPath>) {
    let generation = unsafe path.pointee.vale.generation(of: port)
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

extension MappedRing {
  /// Whether a switch port's transmit ring holds packets that wait for room at their receiver.
  var isHeldUp: Bool { unsafe kind == .vale && kring.hasUnsent }
}

extension Engine {
  /// Wakes every sender that sleeps until a port of a switch has room.
  ///
  /// Called after a port may have left its switch. Only for an engine whose clients are all in this
  /// process: only then does the engine have their doorbells.
  package func wakeHeldSenders() {
    let segments = try? exclusively { (state) throws(NetmapError) in
      state.switches.values.flatMap { $0.members.values.map(\.port.segment) }
    }
    for segment in segments ?? [] {
      let krings = unsafe EngineSwitch.senders(segment)
      let count = unsafe krings.count
      for index in 0..<count where unsafe krings[index].outboxWaitWordIsSet {
        unsafe krings[index].outboxWaitWord(segment.waiters).wake(doorbells.view)
      }
    }
  }
}
