// Answers for a picture of the network's size: fill it from a camera, or from flash.
#include <{{HEADER}}.h>

static uint8_t picture[{{PREFIX}}_HEIGHT * {{PREFIX}}_WIDTH * 3];
static float probabilities[{{PREFIX}}_CLASSES];

void setup() {
  Serial.begin(115200);
}

void loop() {
  const unsigned long start = micros();
  {{NAME}}_run(picture, probabilities);
  const unsigned long took = micros() - start;
  for (int i = 0; i < {{PREFIX}}_CLASSES; i++) {
    Serial.print({{NAME}}_labels[i]);
    Serial.print(' ');
    Serial.println(probabilities[i], 4);
  }
  Serial.print(took);
  Serial.println(" microseconds");
  delay(1000);
}
