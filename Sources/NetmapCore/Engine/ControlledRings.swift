// Rings of bindings in CSB mode: the `head`, `cur` and `tail` of the ring are the application's own, with any values.

extension EngineState.Binding {
  /// Whether control blocks drive the rings.
  ///
  /// A process can set the mode of every binding that it has mapped. Only a binding that has its rings for itself can be in
  /// CSB mode, so a wrong mode changes nothing for rings that others use.
  var isControlled: Bool {
    guard isExclusive, let control = unsafe port.segment.control(ofBinding: index) else {
      return false
    }
    return unsafe control.mode != .rings
  }

  /// The rings of the binding.
  var rings: [RingKey] {
    Direction.allCases.flatMap { direction in
      record.ranges[direction].map { RingKey(port, direction, $0) }
    }
  }
}

extension EnginePort {
  /// Shows the engine's cursors in a ring whose binding ends while the ring stays, as a pipe's does: the next process
  /// that opens the port uses them as indexes.
  ///
  /// No process may sync the ring meanwhile.
  func showCursors(_ direction: Direction, _ index: Int) {
    guard let offset = self[direction, index].offset else { return }
    let kring = unsafe kring(direction, index)
    let ring = unsafe region.ring(at: offset, slotCount: geometry.slots(direction))
    let count = UInt32(geometry.slots(direction))
    let hwcur = unsafe kring.hwcur(below: count) ?? 0
    let head = unsafe kring.rhead(below: count) ?? hwcur
    unsafe ring.head = head
    unsafe ring.cur = head
    unsafe ring.tail = kring.rtail(below: count) ?? hwcur
  }
}
