// What becomes of buffers that a process was exchanging between two rings when it ended
// (``ExchangeNote``).

extension Engine {
  /// Ends the exchanges that a client, which has died, did not live to end: those of bindings that others
  /// still have.
  package func finishExchanges(of tag: ClientTag) {
    try? exclusively { (state) throws(NetmapError) in
      state.finishExchanges(of: state.bindings.values) { batch, _, _ in batch.tag == tag.rawValue }
    }
  }
}

extension EngineState {
  /// Ends what was being exchanged through a binding that is about to go, or with a ring that goes with it.
  ///
  /// Before anything of it is freed: afterwards a buffer that is in two slots would be freed by one of
  /// them. Nobody exchanges any more: the last descriptor of the binding is closed, and a ring that goes
  /// has nobody else who fills it.
  func finishExchanges(of binding: Binding) {
    let port = binding.port
    let going = binding.record.ranges.transmit.compactMap { index in
      port[.transmit, index].users == 1 ? port[.transmit, index].offset : nil
    }
    let others = bindings.values.filter { $0.port.region === port.region }
    finishExchanges(of: [binding] + others) { batch, owner, target in
      (owner.port === port && owner.index == binding.index && batch.binding == binding.index)
        || going.contains(target)
    }
  }

  /// Visits the receive rings of bindings, and ends their exchanges where `mayEnd` says so: it gets the note,
  /// the binding whose ring has it, and the offset of the ring that it names.
  fileprivate func finishExchanges(
    of all: some Collection<Binding>,
    where mayEnd: (ExchangeNote.Batch, Binding, _ target: Int) -> Bool
  ) {
    for binding in all {
      let port = binding.port
      for index in binding.record.ranges.receive {
        let note = unsafe port.kring(.receive, index).exchangeNote
        guard let batch = unsafe note.batch else { continue }
        let target = port.region.layout.bufferBase &- Int(truncatingIfNeeded: batch.distance)
        guard mayEnd(batch, binding, target) else { continue }
        if let ring = unsafe port.region.namedRing(at: target), port[.receive, index].offset != nil
        {
          unsafe note.finish(batch, from: port.ringPlacement(.receive, index).ring, to: ring)
        } else {
          // It names no ring: there is nothing to repair.
          unsafe note.end()
        }
      }
    }
  }
}
